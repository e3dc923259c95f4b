"""Files of misclassified images: their names in every table, and links that lead to nothing but files."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from regulab.errors import UserError
from regulab.exporters.csv import files as exported
from regulab.npz import npz_bytes
from regulab.records import Mistakes
from regulab.reporting.image_files import image_file, often_wrong
from regulab.reporting.report import write_report
from regulab.results.frames import KINDS
from regulab.run_directory.arrays import read_npz
from regulab.run_directory.writing import RunDirectory
from tests.reporting.factory import make_records

NASTY = '"><script>alert(1)</script> ü.png'


def with_files(name="folder:photos", start="../..", files=None):
    records = make_records(arms={"none": 0.0, "l2": 0.1}, seeds=3, epochs=2, images=90, base=60)
    names = [f"test/cat/{index}.jpg" for index in records.mistakes.indices.tolist()]
    names[0] = f"test/cat/{NASTY}" if files is None else files
    study = {**records.study, "data": {**records.study["data"], "name": name}}
    study["resolved"] = {**study["resolved"], "paths_from": start}
    return replace(records, study=study, mistakes=replace(records.mistakes, files=np.array(names)))


@pytest.mark.parametrize(
    ("name", "start", "link"),
    [
        ("folder:photos", "../..", "../../photos/test/cat/7.jpg"),
        ("folder:/data/photos", "../..", "/data/photos/test/cat/7.jpg"),
        ("folder://evil.example/photos", "../..", "/evil.example/photos/test/cat/7.jpg"),
        ("csv:photos/labels.csv", "../..", "../../photos/test/cat/7.jpg"),
        ("folder:javascript:alert(1)", "..", "../javascript%3Aalert%281%29/test/cat/7.jpg"),
        ("folder:photos", "//evil.example", ""),
        ("folder:photos", None, ""),
        ("folder:~/photos", "..", ""),
        ("digits", "..", ""),
    ],
)
def test_a_link_is_a_path(name, start, link):
    records = with_files(name, start, "test/cat/7.jpg")
    assert image_file(records, int(records.mistakes.indices[0])).link == link


def test_the_file_of_every_mistake_stands_in_every_table():
    records = with_files()
    tables = {path.stem: list(csv.DictReader(io.StringIO(text.decode()))) for path, text in exported(records)}
    known = dict(zip(records.mistakes.indices.tolist(), records.mistakes.files.tolist(), strict=True))
    assert all(row["file"] == known[int(row["image"])] for row in tables["mistakes"])
    columns = KINDS["mistakes"](records)
    assert columns["file"] == [row["file"] for row in tables["mistakes"]]
    by_image = tables["mistakes_by_image"]
    assert sum(len(row["seeds"].split()) for row in by_image) == len(tables["mistakes"])
    for row in by_image:
        runs = [records.predictions[row["arm"], int(seed)] for seed in row["seeds"].split()]
        index = int(row["image"])
        assert row["file"] == known[index]
        assert {records.class_names[run.predicted[index]] for run in runs} == {row["predicted"]}
        mean = np.mean([run.confidence[index].astype(float) for run in runs])
        assert float(row["confidence"]) == pytest.approx(mean)


def test_without_files_the_column_is_empty():
    records = make_records(seeds=1, epochs=1, images=40, wrong=5)
    tables = {path.stem: list(csv.DictReader(io.StringIO(text.decode()))) for path, text in exported(records)}
    assert {row["file"] for row in tables["mistakes"]} == {""}
    assert often_wrong(records) == []


def test_files_that_most_runs_get_wrong():
    records = with_files()
    runs = list(records.predictions.values())
    wrong = np.sum([run.labels != run.predicted for run in runs], axis=0)
    found = often_wrong(records)
    assert len(found) == np.count_nonzero(wrong > len(runs) / 2)
    assert [one.wrong for one in found] == sorted((one.wrong for one in found), reverse=True)
    assert all(one.runs == len(runs) for one in found)


def test_a_report_names_and_links_them_escaped(tmp_path):
    records = with_files()
    written = write_report(records, tmp_path)
    assert tmp_path / "mistakes.csv" in written
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert 'href="../../photos/test/cat/' in page
    rows = list(csv.DictReader(io.StringIO((tmp_path / "mistakes.csv").read_text())))
    assert len(rows) == sum(len(run.wrong) for run in records.predictions.values())
    assert list(rows[0]) == ["arm", "seed", "index", "file", "actual", "predicted", "confidence"]


def test_files_are_kept_in_a_run_directory_and_old_ones_have_none(tmp_path):
    indices, images = np.array([2, 5]), np.zeros((2, 3, 3, 1), np.uint8)
    for files in (np.array(["a/ü.png", "b/=1+1.png"]), None):
        path = tmp_path / "mistakes.npz"
        written = Mistakes(indices=indices, images=images, files=files)
        RunDirectory.write_mistakes(_Written(tmp_path), written)  # type: ignore[arg-type]
        found = read_npz(path, Mistakes)
        assert (found.files is None) if files is None else found.files.tolist() == files.tolist()
        assert found.file(5) == (None if files is None else "b/=1+1.png")


class _Written:
    """Stands for a run directory of one file."""

    def __init__(self, path):
        self.path = path


@pytest.mark.parametrize(
    "files", [np.array(["a"]), np.array([b"a", b"b"]), np.array([["a"], ["b"]]), np.array([1, 2])], ids=str
)
def test_files_that_contradict_the_images_are_refused(tmp_path, files):
    arrays = {"indices": np.array([2, 5]), "images": np.zeros((2, 3, 3, 1), np.uint8), "files": files}
    (tmp_path / "mistakes.npz").write_bytes(npz_bytes(arrays))
    with pytest.raises(UserError, match="damaged"):
        read_npz(tmp_path / "mistakes.npz", Mistakes)
