"""The curves: an interactive chart of each measure, its numbers, and the still picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regulab.reporting.curves import band_words, label
from regulab.reporting.data import ReportData
from regulab.reporting.interactive import dash_lengths
from regulab.reporting.section import Printed, Section

PAGE = """\
{% if arm_numbers %}
<p class="soft">{{ arm_numbers }} The legend of this page has the names.</p>
{% endif %}
{% if no_charts %}
<p>The script that draws interactive charts could not be made on the machine that wrote this page ({{ no_charts }}); still pictures stand in their place. <code>regulab report</code> on this run directory tries again.</p>
{% else %}
<fieldset class="legend">
<legend>Arms of both charts; {{ band }}</legend>
<div>
{% for one in arms %}
<label><input type="checkbox" name="arm" value="{{ one.number }}" checked autocomplete="off"><svg aria-hidden="true" viewBox="0 0 44 10"><line x1="0" y1="5" x2="44" y2="5" stroke="var(--arm-{{ one.number }})" stroke-width="2.5"{% if dashes[one.name] %} stroke-dasharray="{{ dashes[one.name] }}"{% endif %}/></svg><bdi>{{ labels[one.name] }}</bdi></label>
{% endfor %}
</div>
<div class="controls">
<label><input type="checkbox" id="training" autocomplete="off">training curves (thin; averages of an epoch's batches, with dropout and augmentation on)</label>
<label>from epoch <input type="range" id="from" min="1" max="{{ [epochs, 1] | max }}" value="1" step="1" autocomplete="off"><output id="from-shown" for="from">1</output></label>
</div>
</fieldset>
{% endif %}
{% for picture in pictures %}
{% set drawing, chart = picture.drawing, picture.drawing.chart %}
<h3>{{ drawing.title }}</h3>
<figure>
{% if no_charts or not chart %}
<img src="{{ picture.inline }}" alt="{{ drawing.alternative }}">
{% elif chart.specification %}
<div class="chart" id="chart-{{ chart.name }}" role="img" aria-label="{{ drawing.alternative }}"></div>
{% else %}
<p>No run left a finite value.</p>
{% endif %}
{% if chart and not no_charts %}
<noscript><img src="{{ picture.inline }}" alt="{{ drawing.alternative }}"></noscript>
{% endif %}
</figure>
{% if chart and chart.epochs %}
<details><summary>{{ drawing.title }} in numbers</summary>
<div class="wide"><table>
<caption><span>Means over the runs still going, at some of the epochs.</span></caption>
<thead><tr><th scope="col">arm</th>{% for epoch in chart.epochs %}<th scope="col">epoch {{ epoch }}</th>{% endfor %}</tr></thead>
<tbody>
{% for label, cells in chart.lines %}
<tr><th scope="row"><bdi>{{ label }}</bdi></th>{% for cell in cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
</details>
{% endif %}
{% endfor %}
"""
README = """\
{% for picture in pictures %}
![{{ picture.drawing.alternative | md }}]({{ picture.raster | path }})

{% endfor %}
{% if arm_numbers %}
{{ arm_numbers | md }}

{% endif %}
"""


def content(data: ReportData) -> Mapping[str, Any]:
    shown = [*data.series["val_accuracy"], *data.series["val_loss"]]
    return {
        "arm_numbers": data.picture_names.of_arms,
        "band": band_words(shown, data.band),
        "dashes": {arm.name: " ".join(f"{n:g}" for n in dash_lengths(arm.line_style)) for arm in data.arms},
        "epochs": max((one.values.shape[1] for one in shown), default=0),
        "labels": {one.arm: label(data, one) for one in data.series["val_accuracy"]},
    }


SECTION = Section(
    name="curves",
    title="Curves",
    content=content,
    page=Printed(order=20, template=PAGE),
    readme=Printed(order=20, template=README),
)
