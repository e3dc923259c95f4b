"""Arms are called arms, whatever their names: none of them is read as a word of the sentence."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from regulab.records import Look
from regulab.reporting.observations import notes
from regulab.statistics import compare
from regulab.terminal.comparison_table import print_comparison
from regulab.terminal.progress_display import PlainProgress
from tests.cases.pages import pages_of
from tests.cli.test_terminal import beginning, record
from tests.reporting.factory import make_records

NAMES = ("none", "all", "both", "it", "1", "the baseline", "no arm", "wrong here")


@pytest.fixture(scope="module")
def readme() -> str:
    records = make_records(arms=dict.fromkeys(NAMES, 0.0), seeds=4, epochs=3, images=200, base=93)
    for arm in records.arms:
        records.study["resolved"]["legends"][arm] = f"{arm} (L2 λ=1)"
    return pages_of(records).markdown().decode()


def prose(text: str) -> list[str]:
    """The lines that are sentences: neither cells under a heading nor code."""
    return [line for line in text.splitlines() if line and not line.startswith(("|", "```", "regulab "))]


@pytest.mark.parametrize("name", ["the baseline", "no arm", "wrong here"])
def test_a_name_stands_in_quotes_wherever_it_stands_in_a_sentence(readme, name):
    text = "\n".join(prose(readme))
    found = [m.start() for m in re.finditer(re.escape(name), text)]
    own = {
        "the baseline": (),
        "no arm": (),
        "wrong here": (" are wrong here, and",),
    }[name]
    for place in found:
        around = text[place - 5 : place + len(name) + 5]
        quoted = text[place - 1] == "“" and text[place + len(name)] == "”"
        assert quoted or any(own_words in text[place - 8 : place + 20] for own_words in own), around
    assert any(text[place - 1] == "“" for place in found)


def test_the_baseline_is_an_arm_in_every_sentence(readme):
    assert "Test images that arm “none” gets right and the arm wrong" in readme
    assert ", seed by seed, with arm “none” " in readme
    assert "of that of arm “none”" in readme
    assert "difference to arm “none”" in readme
    assert not re.search(r"(?<![“\w])none gets|that none|Against none|none's|; none \d", readme)


def test_headings_say_arm(readme):
    for name in NAMES:
        assert f"### Arm “{name}” (L2 λ=1)" in readme


def test_the_terminal_says_arm_too():
    console = Console(file=(written := io.StringIO()), width=200)
    records = make_records(arms=dict.fromkeys(NAMES, 0.0), seeds=2, epochs=1)
    print_comparison(compare(records).to_json(), console)
    text = written.getvalue()
    assert "− “none”" in text
    noted = [line.partition(": ")[0] for line in text.splitlines() if line.startswith("arm") and ": " in line]
    assert set(re.findall("“(.*?)”", " ".join(noted))) == set(NAMES) - {"none"}
    assert all(re.fullmatch("arms? “[^”]*”(, “[^”]*”)*", line) for line in noted)
    lines: list[str] = []
    progress = PlainProgress(lines.append)
    progress.started(beginning(("none", "all"), epochs=1, total=2))
    progress.epoch([record("none"), record("all")])
    assert "validation accuracy: “none” 90.00 %, “all” 90.00 %" in lines[-1]


def test_a_first_look_names_its_arms_on_the_page_and_in_the_terminal():
    records = make_records(arms={"none": 0, "all": -2.0}, seeds=8, images=10_000, epochs=1)
    looks = tuple(
        Look(seeds=tuple(range(n)), arms={}, rule="fixed" if n == 6 else "sequential") for n in (6, 8)
    )
    comparison = compare(replace(records, looks=looks))
    assert comparison.first_look.verdicts == {"all": "worse"}
    said = [note for note in notes(replace(records, looks=looks), comparison) if "first 6 seeds" in note]
    assert said == [
        "The look at the first 6 seeds, by the rule for a fixed number of them, said: “all” worse."
    ]
    console = Console(file=(written := io.StringIO()), width=200)
    print_comparison(comparison.to_json(), console)
    assert "the look at seeds 0–5 said: “all” worse" in written.getvalue()


def test_other_baselines_and_pairs_of_models_are_arms_too():
    records = make_records(arms={"none": 0, "all": -2.0}, seeds=1, images=1000, epochs=1)
    assert (
        "compared with arm “all”, not with the declared baseline “none”"
        in compare(records, baseline="all").note
    )
    note = compare(records).arms["all"].note
    assert "test images only arm “all” gets right" in note
    assert "only arm “none”, p = " in note
