"""``regulab init PATH`` from the command to a study that runs: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from regulab.cli import app
from regulab.config import load_study
from regulab.data import load
from regulab.dry_run import Plan
from regulab.suggesting import estimate as estimating
from regulab.training.planning import FleetPlan
from tests.cases.making_images import fill, save, with_splits

ROOT = Path(__file__).parents[2]
RANDOM = np.random.default_rng(8)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def quick(monkeypatch):
    """Without the steps that are measured."""
    fleet = FleetPlan(0, (("none", 0),), "fleet", "", "fp32", 1)
    planned = Plan(28, [fleet], 2**20, 1000.0, 994.0, ["a note"])
    monkeypatch.setattr(estimating, "estimate", lambda *_: planned)


def invoke(*arguments: str):
    return CliRunner().invoke(app, arguments)


def photos(folder: Path) -> Path:
    """Twelve colour images of each of two classes, of 30 to 99 pixels a side."""
    for name in ("cat", "dog"):
        for number in range(12):
            height, width = RANDOM.integers(30, 100, 2)
            save(folder / name / f"{number}.png", RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8))
    return folder


def test_from_a_folder_to_a_first_report():
    photos(Path("photos"))
    done = invoke("init", "photos")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "photos: 24 images in 2 classes",
        "class          images",
        "cat                12",
        "dog                12",
    ]
    assert "split       14 train, 5 validate, 5 test." in done.stdout
    assert re.search(
        r"^wrote       photos.yaml\n\nregulab run photos.yaml\n  4 arms × 7 seeds: 28 runs in \d+ fleets?, about ",
        done.stdout,
        re.MULTILINE,
    )
    ran = invoke("run", "photos.yaml", "--seeds", "1", "--epochs", "1", "--arms", "none,l1")
    assert ran.exit_code == 0, ran.stderr
    assert Path("runs/photos/report.html").is_file()


@pytest.mark.usefixtures("quick")
def test_the_page_shows_what_it_prints():
    """README's “Your own study”, word for word, on the pictures that it says."""
    subprocess.run([sys.executable, ROOT / "examples" / "pictures.py"], check=True)
    said = invoke("init", "photos").stdout.partition("\n\n")[0]
    section = (ROOT / "README.md").read_text().partition("## Your own study")[2]
    assert f"```\n{said}\n```\n" in section


@pytest.mark.usefixtures("quick")
class TestWhatItWrites:
    def test_a_long_study_is_told_with_a_short_trial(self):
        fill(Path("photos"), {"a": 9, "b": 9})
        said = invoke("init", "photos/").stdout
        assert "28 runs in 1 fleet, about 17 minutes here, with 1 MiB of memory" in said
        assert "\n  a note\nregulab run photos.yaml --seeds 1 --epochs 2 --out runs/trial\n" in said
        assert "in about 10 seconds; it decides nothing" in said

    @pytest.mark.parametrize(
        ("path", "file", "written", "data"),
        [
            ("Bilder größe: neu 100%", None, "Bilder größe: neu 100%.yaml", "folder:Bilder größe: neu 100%"),
            ("a/b", "c/d/e.yaml", "c/d/e.yaml", "folder:a/b"),
            ("here/", "here/study.yml", "here/study.yml", "folder:here"),
            ("~odd", None, "~odd.yaml", None),
            ("x=y", None, "x=y.yaml", "folder:x=y"),
        ],
        ids=["words", "elsewhere", "inside", "tilde", "equals"],
    )
    def test_the_study_finds_its_images_from_wherever_it_lies(self, path, file, written, data):
        fill(Path(path), {"a": 5, "b": 6})
        done = invoke("init", path, *([file] if file else []))
        assert done.exit_code == 0, done.stderr
        study = load_study(written)
        assert study.data.name == data or study.data.name == f"folder:{Path(path).absolute()}"
        assert len(load(study.data, study.protocol, Path()).train) == 7

    def test_the_working_directory_itself_and_one_above(self, monkeypatch):
        fill(Path("photos"), {"a": 5, "b": 6})
        Path("photos/inner").mkdir()
        monkeypatch.chdir("photos/a")
        done = invoke("init", "..", "../../up.yaml")
        assert done.exit_code == 2  # of three folders one holds no images
        assert "a class folder without images" in done.stderr
        Path("../inner").rmdir()
        assert invoke("init", "..", "../../up.yaml").exit_code == 0
        monkeypatch.chdir("../..")
        assert load_study("up.yaml").data.name == "folder:photos"
        monkeypatch.chdir("photos")
        assert invoke("init", ".").exit_code == 0
        assert load_study("photos.yaml").data.name in ("folder:.", f"folder:{os.getcwd()}")

    def test_a_link_to_a_folder_keeps_its_name(self):
        fill(Path("deep/er"), {"a": 5, "b": 6})
        Path("photos").symlink_to("deep/er")
        assert invoke("init", "photos", "deep/x.yaml").exit_code == 0
        assert load_study("deep/x.yaml").data.name == "folder:photos"

    def test_a_table_and_arrays(self):
        fill(Path("files"), {"x": 20})
        rows = [f"files/x/{i:02}.png,{'odd' if i % 2 else 'even'}" for i in range(20)]
        Path("table.csv").write_text("\n".join(["file_name,label", *rows]))
        np.savez(
            "arrays.npz", images=RANDOM.integers(0, 256, (20, 9, 8), dtype=np.uint8), labels=np.arange(20) % 2
        )
        for path in ("table.csv", "arrays.npz"):
            done = invoke("init", path)
            assert done.exit_code == 0, done.stderr
            assert "20 images in 2 classes" in done.stdout
            study = load_study(f"{Path(path).stem}.yaml")
            assert len(load(study.data, study.protocol, Path()).train) == 12

    def test_thousands_of_classes_are_counted_and_some_named(self):
        fill(Path("many"), {f"c{number:04}": 2 for number in range(1200)})
        said = invoke("init", "many").stdout
        assert "many: 2,400 images in 1,200 classes" in said
        assert "1,188 more      2,376\n" in said
        assert "1,200 classes with fewer than 10 training images" in said
        assert said.count("\n") < 40

    def test_what_a_person_should_know_is_said(self):
        with_splits(Path("images"), train=9)
        first = Path("images/train/cat/00.png").read_bytes()
        Path("images/test/dog/again.png").write_bytes(first)
        Path("images/train/dog/half.png").write_bytes(first[:70])
        Image.new("L", (8, 8), 3).save("images/train/dog/night.png")
        Path("images/read me.txt").touch()
        said = re.sub(r"\n +", " ", invoke("init", "images").stdout)
        assert (
            "class           train     test\ncat                 9        6\ndog                10        7\n"
            in said
        )
        assert "copies 2 images are 1 picture, each there more than once:" in re.sub(" +", " ", said)
        assert (
            "1 under more than one class, so that one of the labels is wrong: train/cat/00.png=test/dog/again.png"
            in said
        )
        assert "1 in more than one part, so that what was trained on is tested" in said
        assert "1 image shows nothing (levels all but equal): train/dog/night.png." in said
        assert (
            "1 file, at which `regulab run` will stop; not counted above: train/dog/half.png: image file is trunc"
            in said
        )
        assert (
            "1 entry left out (hidden, not in a class folder, or no image by the name): read me.txt." in said
        )
        assert "Remove or replace the 1 unreadable file first. Then:\nregulab run images.yaml" in said

    def test_a_file_that_is_there_stays_unless_forced_and_nothing_is_looked_at(self):
        fill(Path("photos"), {"a": 5, "b": 6})
        Path("photos.yaml").write_text("name: precious\n")
        done = invoke("init", "photos")
        assert (done.exit_code, done.stdout) == (2, "")
        assert (
            "the file is there already; got 'photos.yaml'; --force replaces it, FILE names another"
            in done.stderr
        )
        assert Path("photos.yaml").read_text() == "name: precious\n"
        assert invoke("init", "photos", "--force").exit_code == 0
        assert load_study("photos.yaml").name == "photos"

    def test_names_that_cannot_be_seen_are_written_otherwise(self):
        fill(Path("pho\u202etos\n"), {"a": 5, "b": 6})
        done = invoke("init", "pho\u202etos\n")
        assert done.exit_code == 2  # a study file cannot name such a folder
        assert "data.name" in done.stderr
        assert "\u202e" not in done.stdout + done.stderr
        assert [path.name for path in Path().iterdir()] == ["pho\u202etos\n"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere/photos"], "neither images that are there nor the name of a study file"),
        (["digits"], "for the dataset of that name: regulab run --data digits"),
        (["nowhere", "x.yaml"], "no images there; got 'nowhere'"),
        (["empty"], "an empty folder"),
        (["x.yaml", "y.yaml"], "no images there; got 'x.yaml'"),
        (["one"], "too few images to cut a test and a validation part from"),
        (["loose", "loose"], "a folder, no file; got 'loose'"),
    ],
    ids=["typo", "dataset", "typo-and-file", "empty", "two-files", "one-each", "folder-to-write"],
)
def test_what_is_refused_writes_nothing(arguments, message):
    Path("empty").mkdir()
    fill(Path("one"), {"a": 1, "b": 1, "c": 1})
    fill(Path("loose"), {".": 3})
    before = sorted(Path().rglob("*"))
    done = invoke("init", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission():
    fill(Path("photos"), {"a": 5, "b": 6})
    Path("photos/a").chmod(0)
    try:
        done = invoke("init", "photos")
    finally:
        Path("photos/a").chmod(0o755)
    assert done.exit_code == 2
    assert "cannot read the folder (Permission denied)" in done.stderr


@pytest.mark.usefixtures("quick")
def test_images_of_two_depths_have_their_cure_before_the_command():
    photos(Path("photos"))
    deep = RANDOM.integers(0, 65536, (40, 40), dtype=np.uint16)
    Image.fromarray(deep).save(Path("photos") / "cat" / "deep.png")
    done = invoke("init", "photos")
    assert done.exit_code == 0, done.stderr
    said = (
        "Convert the 1 of grey levels of 16 or 32 bits, or give their data.range in photos.yaml, first. Then:"
    )
    assert said in done.stdout
    assert done.stdout.index(said) < done.stdout.index("regulab run photos.yaml")
