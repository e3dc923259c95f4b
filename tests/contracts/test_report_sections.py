"""What every section of a report promises, with no list to edit."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from jinja2 import UndefinedError

from regulab.reporting.figure import DrawnPicture
from regulab.reporting.pages import Pages, figures, readme_sections, sections
from regulab.reporting.section import Printed, Section
from regulab.reporting.tiles import sprite
from tests.contracts.reports import KINDS, RAW, Markup, data_of, file_of, number_faults

SECTIONS = {one.name: one for one in sections()}


def printed(section, kind):
    """The text of a section alone in each document that has it, from fresh records of a kind."""
    data = KINDS[kind]()
    own = [one for one in figures() if one.section == section.name]
    pictures = {one.name: [DrawnPicture(drawing=d, content=b"") for d in one.drawings(data)] for one in own}
    content = section.content(data)
    pages = Pages(data, pictures)
    pages.contents = {section.name: content}
    pages.sprite = sprite(data.records.mistakes, section.tiles(content))
    parts = {"page": section.page, "readme": section.readme}
    shared = pages._shared("")
    return {
        document: str(pages._laid_out([(section, part)], shared)["bodies"][section.name])
        for document, part in parts.items()
        if part is not None
    }


def faults(section, kind):
    """What is wrong with a section, in words for the person who wrote it."""
    found = (
        [] if re.fullmatch("[a-z][a-z0-9-]*", section.name) else ["name: lower case letters, digits, hyphens"]
    )
    try:
        first, second = (printed(section, kind) for _ in range(2))
    except UndefinedError as error:
        first = second = {}
        found.append(f"{error}: `content` has to return what the templates print")
    if first != second:
        found.append("the same records gave two texts; draw from `Streams`, and sort what is a set")
    for document, text in first.items():
        found += [f"{document}: {fault}" for fault in text_faults(document, text)]
    return [f"{file_of(section, section.content)}: {one} (records: {kind})" for one in dict.fromkeys(found)]


def text_faults(document, text):
    found = [
        f"the name {raw!r} stands there as markup; print it without `| safe` and Markup"
        for raw in RAW
        if raw in text
    ]
    if document == "page":
        page = Markup(text)
        return [*found, *page.faults, *number_faults(page.text)]
    if "*c*" in text or "*d*" in text:
        found.append("a name is read as Markdown; print it with the filter md")
    return [*found, *number_faults(text)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SECTIONS)
def test_it_keeps_the_contract(name, kind):
    if not SECTIONS[name].shown(data_of(kind)):
        pytest.skip("a study of this kind has nothing that the section is about")
    found = faults(SECTIONS[name], kind)
    assert not found, "\n".join(found)


def test_each_has_a_place_of_its_own():
    for places in (
        Counter(one.page.order for one in sections()),
        Counter(part.order for _, part in readme_sections(sections())),
    ):
        taken = [place for place, count in places.items() if count > 1]
        assert not taken, f"order {taken} is given to two sections: choose a number between their neighbours"


def test_no_section_and_no_figure_brings_torch_in():
    """Nor pyplot, which keeps figures and settings for the whole process. The first module that does is named."""
    packages = ("regulab.reporting.sections", "regulab.reporting.figures")
    names = [name for name in sorted(sys.modules) if name.startswith(packages)]
    assert len(names) > 10
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    for heavy in ('torch', 'matplotlib.pyplot'):\n"
        "        if heavy in sys.modules: sys.exit(f'{name} imports {heavy}: a report is made without it')\n"
    )
    run = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


GOOD = Section(
    name="mine",
    title="Mine",
    content=lambda data: {"lines": data.arms},
    page=Printed(order=55, template="<ul>{% for one in lines %}<li>{{ one.name }}</li>{% endfor %}</ul>\n"),
    readme=Printed(order=55, template="{% for one in lines %}\n- {{ one.name | md }}\n{% endfor %}\n"),
)


def page_of(template):
    return replace(GOOD, page=Printed(order=55, template=template))


WRONG = {
    "raw name": (page_of("{{ lines[1].name | safe }}"), "stands there as markup"),
    "undefined": (page_of("{{ unheard_of }}"), "`content` has to return"),
    "unclosed": (page_of("<p>text"), "<p> is never closed"),
    "heading": (page_of("<h2>again</h2>"), "begin with <h3>"),
    "no alt": (page_of('<img src="data:,">'), "without alt"),
    "no label": (page_of("<svg></svg>"), "without aria-label"),
    "colour": (page_of('<p style="color: #123456">x</p>'), "suits one ground only"),
    "elsewhere": (page_of('<a href="https://example.org">x</a>'), "asks nobody"),
    "script": (page_of("<script>1</script>"), "the page's policy"),
    "nan": (
        replace(page_of("<p>{{ x }}</p>"), content=lambda data: {"lines": data.arms, "x": math.nan}),
        "no number",
    ),
    "nan beside a number": (
        replace(
            page_of("<p><b>3</b><b>{{ x }}</b></p>"), content=lambda data: {"lines": data.arms, "x": math.nan}
        ),
        "it prints 'nan'",
    ),
    "markdown": (
        replace(GOOD, readme=Printed(order=55, template="{{ lines[1].name }}")),
        "with the filter md",
    ),
    "name": (replace(GOOD, name="My Section"), "lower case"),
}


def test_a_good_one_has_no_fault():
    assert faults(GOOD, "two arms") == []


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_named_in_words_that_mend_it(what):
    section, words = WRONG[what]
    found = faults(section, "two arms")
    assert any(words in one for one in found), found
    assert all(one.startswith("contracts/test_report_sections.py: ") for one in found)


def test_draws_that_are_not_keyed_are_noticed():
    numbers = iter(range(100))
    section = replace(GOOD, content=lambda data: {"lines": data.arms[: 1 + next(numbers) % 2]})
    assert any("gave two texts" in one for one in faults(section, "two arms"))


def test_a_mistake_in_a_template_names_its_section(monkeypatch):
    import regulab.reporting.pages as module

    bad = page_of("{{ unheard_of }}")
    monkeypatch.setattr(module, "sections", lambda: [bad])
    pages = Pages(data_of("one arm"), {figure.name: [] for figure in figures()})
    with pytest.raises(UndefinedError) as refusal:
        pages.html()
    assert refusal.value.__notes__ == ["in a template of the report's section 'mine'"]
