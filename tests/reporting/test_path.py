"""The page of a path: its sentences, its files, the same bytes every time, and what it says where little is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from regulab.reporting import write_report
from regulab.reporting.path.words import path_words
from regulab.run_directory.names import is_own
from regulab.statistics.path_results import path_results
from regulab.statistics.strength_path import path_of
from tests.reporting.factory import with_diverged, without
from tests.statistics.test_path_results import STRENGTHS, path_records, with_validation

CLEAR = {"l1 1e-05": [90.0] * 5, "l1 0.0001": [94.0] * 5, "l1 0.001": [91.0] * 5, "l1 0.01": [80.0] * 5}


def words(records, folder=""):
    path = path_of(records)
    assert path is not None
    return path_words(records, path_results(records, path), folder)


def test_the_answer_names_the_strength_its_scores_and_the_difference():
    records = with_validation(path_records(), CLEAR)
    said = " ".join(words(records).answer)
    assert said.startswith(
        "Of 4 strengths validation chooses l1 at strength 0.0001, which has the highest mean validation accuracy over "
        "5 seeds (94.00 %; arm “none”: "
    )
    assert "Other seeds would choose the same, as far as these can tell." in said
    assert "a paired difference of +" in said
    assert "(95 % t interval " in said
    assert "Where for each seed only the other seeds choose, the difference is +" in said


def test_other_choices_are_counted():
    split = {**CLEAR, "l1 0.0001": [94.0, 90, 94, 90, 94], "l1 0.001": [91.0, 93, 91, 93, 91]}
    said = " ".join(words(with_validation(path_records(), split)).answer)
    assert "Other seeds would choose it in about " in said
    assert " cases of 100, 0.001 in " in said


def test_the_command_trains_seeds_that_took_no_part():
    records = with_validation(path_records(), CLEAR)
    assert words(records).command == (
        "regulab run study.yaml --arms 'none,l1 0.0001' --seeds 5,6,7,8,9,10,11,12,13,14 --out confirmed"
    )
    assert words(records, "my runs/").command.startswith("regulab run 'my runs/study.yaml' --arms")
    assert words(records, "my runs/").command.endswith("--out 'my runs-confirmed'")


def test_cautions():
    records = with_validation(path_records(), CLEAR)
    said = " ".join(words(records).cautions)
    assert "No verdict is given here. The test images took no part in the choice" in said
    assert "Go further" not in said
    course = replace(records, study={**records.study, "protocol": {"kind": "course"}})
    assert "by the very images that its test accuracy counts" in " ".join(words(course).cautions)
    edge = with_validation(records, {**CLEAR, "l1 0.01": [95.0] * 5})
    assert "stronger ones may be better still. Go further." in " ".join(words(edge).cautions)
    lost = with_diverged(records, "l1 0.01", 1)
    assert "Runs diverged at 0.01 (1 of 5 runs)" in " ".join(words(lost).cautions)
    part = without(records, "none", 4)
    assert "4 of 5 seeds have finished" in " ".join(words(part).cautions)


def test_one_seed_and_nothing_to_choose():
    assert (
        "With one seed nothing is known of what other seeds would choose."
        in words(path_records(seeds=1)).answer
    )
    records = path_records()
    for arm in STRENGTHS:
        records = with_diverged(records, arm, 0)
    nothing = words(records)
    assert nothing.answer[0].startswith("Validation chooses no strength: no candidate can be chosen")
    assert nothing.command == ""


@pytest.mark.parametrize("case", ["whole", "diverged", "one-seed", "all-diverged", "unfinished"])
def test_the_files_are_the_directorys_own_and_the_same_every_time(case, tmp_path):
    records = path_records(seeds=1 if case == "one-seed" else 3)
    if case == "diverged":
        records = with_diverged(records, "l1 0.01", 0)
    if case == "all-diverged":
        for arm in ("none", *STRENGTHS):
            records = with_diverged(records, arm, 0)
    if case == "unfinished":
        records = without(records, "l1 0.01", 2)
    kept: list[dict[str, bytes]] = []
    for _ in range(2):
        files: dict[str, bytes] = {}

        def keep(path: Path, content: bytes, files: dict[str, bytes] = files) -> None:
            files[path.relative_to(tmp_path).as_posix()] = content

        write_report(records, tmp_path, keep)
        kept.append(files)
    assert kept[0] == kept[1]
    assert all(map(is_own, kept[0]))
    drawn = {"figures/regulab-path.png", "figures/regulab-path.svg"} if case != "all-diverged" else set()
    assert set(kept[0]) == {"path.json", "report.html", "README.md"} | drawn
    page = kept[0]["report.html"].decode()
    assert "<script" not in page
    assert ("<img" in page) == bool(drawn)
    content = json.loads(kept[0]["path.json"])
    assert content["path"]["technique"] == "l1"
    assert len(content["points"]) == 4


def test_names_are_escaped(tmp_path):
    records = path_records()
    study = {**records.study, "name": "<b>bold</b>"}
    write_report(replace(records, study=study), tmp_path)
    assert "<b>bold" not in (tmp_path / "report.html").read_text()
