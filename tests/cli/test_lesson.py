"""``regulab lesson`` from the command line: what is printed, what is written, what is refused."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.lessons import lessons


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGULAB_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("REGULAB_DEBUG", raising=False)


def invoke(*arguments: str):
    return CliRunner().invoke(app, ["lesson", *arguments])


def test_a_lesson_prints_claims_numbers_and_answer_and_writes_page_figures_and_numbers(tmp_path):
    answer = invoke("batch-norm", "--out", "here")
    assert answer.exit_code == 0, answer.output
    content = json.loads((tmp_path / "here" / "batch-norm.json").read_text("utf-8"))
    printed = " ".join(answer.stdout.split())  # lines are wrapped
    for claim in content["claims"]:
        assert claim["statement"] in printed
        assert claim["answer"] in printed
    for number in content["numbers"].values():
        assert number["text"] in printed
    assert f"answer: {content['tally']}" in printed
    begins = [printed.index(part) for part in (content["takeaway"], "figure: ", "largest |mean|", "claim: ")]
    assert begins == sorted(begins), "the sentence to remember, the figure, the numbers, the claims"
    for files in content["figures"]:
        for file in files.values():
            assert (tmp_path / "here" / file).stat().st_size > 1000
    page = (tmp_path / "here" / "batch-norm.html").read_text("utf-8")
    assert "://" not in page.split("<main>")[0], "the page loads nothing"
    assert (tmp_path / "here" / "batch-norm.md").exists()
    assert "lesson batch-norm" in answer.stderr


def test_quiet_leaves_stderr_empty():
    answer = invoke("batch-norm", "-q", "--out", "here")
    assert answer.exit_code == 0
    assert answer.stderr == ""


def test_the_same_lesson_twice_gives_the_same_numbers_and_figures(tmp_path):
    for out in ("one", "two"):
        assert invoke("batch-norm", "-q", "--out", out).exit_code == 0
    files = sorted(
        f.relative_to(tmp_path / "one") for f in (tmp_path / "one").rglob("*.*") if f.suffix != ".html"
    )
    for file in files:
        if file.suffix in (".png", ".json"):
            assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["batchnorm"], ["no such lesson", "batchnorm", *lessons()]),
        (["batch-norm", "--image", "cat.png"], ["looks at no picture", "normalize-equalize"]),
        (["batch-norm", "--data", "mnist"], ["missing data file", "regulab data fetch mnist"]),
        (["batch-norm", "--data", "mnits"], ["mnits", "digits"]),
        (["batch-norm", "--device", "gpu0"], ["--device", "gpu0"]),
        (["normalize-equalize", "--image", "nowhere.png"], ["nowhere.png"]),
    ],
)
def test_what_is_wrong_is_named_with_exit_code_2(arguments, words):
    answer = invoke(*arguments, "--out", "here")
    assert answer.exit_code == 2
    assert "Traceback" not in answer.output
    for word in words:
        assert word in answer.stderr


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "here").write_text("not a folder")
    answer = invoke("batch-norm", "--out", "here")
    assert answer.exit_code == 2
    assert "here" in answer.stderr
