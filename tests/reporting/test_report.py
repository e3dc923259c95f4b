import json
import re
import time
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from regulab.files import file_name
from regulab.reporting import write_report
from regulab.reporting.tables import interval, number, p_value
from regulab.reporting.templating import markdown_text, script_hash
from regulab.statistics import compare
from tests.reporting.factory import make_records, with_diverged, with_stopped, without

NASTY = (
    "a $x_1$|b",
    "<script>alert(1)</script>",
    "_\"q\" & 'r'",
    "שלום",
    "x" * 90,
    "../../up",
    "@me `c` *b*",
)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.inside = [], [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.inside = tag
        self.attributes += [(tag, key, value) for key, value in attrs]

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    records = make_records(
        arms=dict.fromkeys(("none", *NASTY), 0.0), seeds=3, epochs=7, images=300, base=96,
        classes=("<b>cat</b>", "$dog$", "a|b", "שלום", "a long class name that goes on"), channels=3,
    )  # fmt: skip
    records = without(with_stopped(with_diverged(records, NASTY[0], 1), NASTY[1], 2, 3), NASTY[3], 0)
    directory = tmp_path_factory.mktemp("run")
    return records, directory, write_report(records, directory)


def test_every_file_of_the_contract(nasty):
    records, directory, written = nasty
    names = {str(path.relative_to(directory)) for path in written}
    assert names == {
        "statistics.json", "report.html", "README.md", "table.tex",
        *(f"figures/{name}.{kind}"
          for name in ("val_accuracy", "val_loss", "regulab-differences", "regulab-reliability")
          for kind in ("png", "svg")),
        *(f"misclassified/{file_name(arm)}.png" for arm in records.arms),
    }  # fmt: skip
    assert {path for path in directory.rglob("*") if path.is_file()} == set(written)
    assert json.loads((directory / "statistics.json").read_text()) == compare(records).to_json()


def test_the_page_asks_nobody_and_runs_only_its_own_scripts(nasty):
    _, directory, _ = nasty
    text = (directory / "report.html").read_text()
    page = Page(text)
    addresses = [value for _, key, value in page.attributes if key in ("src", "href")]
    assert all(value.startswith(("data:", "#")) for value in addresses)
    policy = next(value for _, key, value in page.attributes if key == "content" and "script-src" in value)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 2
    assert policy.endswith(f"script-src {' '.join(map(script_hash, scripts))}")
    assert page.tags.count("script") == 3
    assert "<script>alert(1)</script>" in page.text


def test_every_image_has_a_text(nasty):
    _, directory, _ = nasty
    page = Page((directory / "report.html").read_text())
    texts = [value for tag, key, value in page.attributes if (tag, key) == ("img", "alt")]
    assert len(texts) == page.tags.count("img") == 4
    assert all(len(text) > 20 for text in texts)
    roles = sum((key, value) == ("role", "img") for _, key, value in page.attributes)
    assert roles == sum(key == "aria-label" and "role" not in value for _, key, value in page.attributes) - (
        page.tags.count("nav") + sum(value == "region" for _, _, value in page.attributes)
    )


def test_every_heading_follows_its_parent_and_every_label_has_its_target(nasty):
    _, directory, _ = nasty
    page = Page((directory / "report.html").read_text())
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [value for _, key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    wanted = [
        v.lstrip("#") for _, k, v in page.attributes if k == "aria-labelledby" or (v and v.startswith("#"))
    ]
    assert set(wanted) <= set(ids)


def test_the_readme_links_to_files_that_exist(nasty):
    _, directory, _ = nasty
    text = (directory / "README.md").read_text()
    links = re.findall(r"!\[[^\n]*?\]\(([^)]*)\)", text)
    assert len(links) == 4 + 8
    for link in links:
        assert (directory / unquote(link)).is_file()
    assert "<script>" not in text


def test_the_readme_is_readable_as_it_stands(nasty):
    _, directory, _ = nasty
    text = (directory / "README.md").read_text()
    assert "layer's initial scale" in text
    assert "& 'r'" in text.replace("&amp;", "&"), "a name's own apostrophes too"
    assert "&#39;" not in text


def test_rows_of_the_readme_have_equal_numbers_of_cells(nasty):
    _, directory, _ = nasty
    tables = re.findall(r"(?:^\|.*\|$\n)+", (directory / "README.md").read_text(), re.MULTILINE)
    assert len(tables) == 12, "verdicts, calibration, measures, further five, classes, images, pairing, noise"
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_figures_are_readable_at_the_width_of_a_readme(nasty):
    _, directory, _ = nasty
    for path in directory.rglob("*.png"):
        with Image.open(path) as image:
            assert 1200 <= image.width <= 2000


def test_the_same_records_give_the_same_bytes_through_any_writer(tmp_path):
    records, contents = make_records(seeds=2, epochs=3), dict[Path, bytes]()
    write_report(records, tmp_path, write=contents.__setitem__)
    assert list(tmp_path.iterdir()) == []
    assert Image.open(BytesIO(contents[tmp_path / "misclassified" / "l1.png"])).width == 1280
    written = write_report(records, tmp_path)
    assert {path: path.read_bytes() for path in written} == contents


@pytest.mark.parametrize(
    "records",
    [
        make_records(seeds=1, epochs=1),
        make_records(seeds=2, epochs=2, wrong=0),
        make_records(arms={"none": 0.0}, seeds=2, epochs=3),
        with_diverged(make_records(arms={"none": 0.0, "l1": 0.0}, seeds=1, epochs=3), "none", 0, after=0),
        without(make_records(arms={"none": 0.0, "l1": 0.0}, seeds=1, epochs=3), "l1", 0),
    ],
    ids=["one seed, one epoch", "no mistakes", "one arm", "baseline diverged at once", "arm without runs"],
)
def test_odd_studies_have_a_report(records, tmp_path):
    write_report(records, tmp_path)
    text = Page((tmp_path / "report.html").read_text()).text
    assert "nan" not in text.lower().replace("dominant", "")
    assert "None" not in text.replace("null", "")


def test_four_arms_ten_seeds_forty_epochs_take_seconds(tmp_path):
    """In seconds of the processor, which a busy machine leaves as they are."""
    records = make_records(seeds=10, epochs=40, images=10_000, base=99.3)
    start = time.process_time()
    write_report(records, tmp_path)
    assert time.process_time() - start < 10
    assert (tmp_path / "report.html").stat().st_size < 3e6


def test_markdown_prints_text_as_it_stands():
    assert markdown_text("a|b *c* _d_ `e` [f](g) $h$ ~i~") == (r"a\|b \*c\* \_d\_ \`e\` \[f\](g) \$h\$ \~i\~")
    assert markdown_text('<b> & "q"') == "&lt;b&gt; &amp; &#34;q&#34;"
    assert markdown_text("two\nlines") == "two lines"
    assert [markdown_text(x) for x in ("- x", "1. x", "x - 1.")] == [r"\- x", r"1\. x", "x - 1."]
    assert markdown_text("שלום") == "\u2068שלום\u2069"
    assert "@" not in markdown_text("@someone")


def test_numbers_as_cells():
    assert [number(x, 2, sign=True) for x in (0.104, -0.05, -0.001, None)] == ["+0.10", "−0.05", "0.00", "–"]
    assert interval((-0.1, 0.2), 1) == "−0.1 to 0.2"
    assert [p_value(p) for p in (None, 0.0312, 1e-5)] == ["–", "0.031", "< 0.001"]
