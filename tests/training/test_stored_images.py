"""Images that stay in a file train as those in memory do: the same batches, losses and predictions to the bit."""

import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regulab.config import build_study
from regulab.data.dataset import Images
from regulab.data.formats import image_cache
from regulab.data.preprocessing import fit
from regulab.data.stored_pixels import StoredPixels
from regulab.errors import UserError
from regulab.records import StudyRecords
from regulab.run_directory.reading import read_records
from regulab.run_directory.stored_images import StoredImages
from regulab.streams import Streams
from regulab.study import run
from regulab.training.batches import Batches, ImageTensors, InputPlan
from regulab.training.evaluate import images_at_once
from regulab.training.setup import set_up

RANDOM = np.random.default_rng(6)
CPU = torch.device("cpu")


@pytest.fixture
def both(tmp_path):
    """The same 40 images in memory, and as chosen rows of a file of 60."""
    array = RANDOM.integers(0, 256, (60, 5, 4, 3), dtype=np.uint8)
    (tmp_path / "pixels").write_bytes(array.tobytes())
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r", 0, array.shape)
    rows, labels = RANDOM.permutation(60)[:40], np.arange(40) % 4
    return Images(array[rows], labels), Images(StoredPixels(mapped).chosen(rows), labels)


def test_parts_and_gathered_images_are_the_same(both):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        memory, stored = (ImageTensors.of(images, CPU) for images in both)
    assert memory.shape == stored.shape == (5, 4, 3)
    assert len(stored) == 40
    assert stored.pixels.shape[0] == 60  # nothing was copied
    chosen = torch.tensor([39, 3, 3, 0])
    assert torch.equal(memory.gather(chosen), stored.gather(chosen))
    assert torch.equal(memory.part(30, 99), stored.part(30, 99))
    assert torch.equal(memory.first(7).part(0, 9), stored.first(7).part(0, 9))
    assert len(stored.first(7)) == 7


def test_batches_are_the_same(both):
    plan = InputPlan((Streams("s", 0), Streams("s", 1)), (None,), (0, 1), (0, 0))
    made = [Batches(ImageTensors.of(images, CPU), fit(images, "pixel"), plan, 8) for images in both]
    orders = made[0].orders(1)
    for (x, labels), (other, other_labels) in zip(*(one.epoch(orders, 1) for one in made), strict=True):
        assert torch.equal(x, other)
        assert torch.equal(labels, other_labels)


def test_taken_images_share_the_file(both):
    memory, stored = both
    one, other = stored.take(np.array([5, 1])), memory.take(np.array([5, 1]))
    assert isinstance(one.pixels, StoredPixels)
    assert np.array_equal(one.pixels[:], other.pixels[:])
    assert one.content_hash() == other.content_hash()


def photos(folder):
    for split, count in (("train", 12), ("test", 5)):
        for label, name in enumerate(("a", "b")):
            for number in range(count):
                path = folder / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                array = RANDOM.integers(0, 150 + 100 * label, (20 + number, 24, 3), dtype=np.uint8)
                Image.fromarray(array).save(path)
    return folder


@pytest.mark.parametrize("engine", ["fleet", pytest.param("plain", marks=pytest.mark.slow)])
def test_a_study_from_the_cache_leaves_the_same_records(tmp_path, monkeypatch, engine):
    folder = photos(tmp_path / "photos")
    study = build_study(
        {
            "name": "photos",
            "data": {"name": f"folder:{folder}", "size": 16, "augment": {"rotate": 5}},
            "train": {"epochs": 1, "batch_size": 8, "engine": engine},
            "seeds": 1,
            "arms": {"none": {}},
        }
    )
    monkeypatch.setenv("REGULAB_CACHE", str(tmp_path / "cache"))
    records: list[StudyRecords] = []
    for worth in (10**9, 1, 1):  # in memory; made and kept; from the cache
        monkeypatch.setattr(image_cache, "WORTH_FILES", worth)
        directory = tmp_path / f"run {len(records)}"
        run(study, directory, data_root=tmp_path)
        records.append(read_records(directory))
    assert len(list((tmp_path / "cache").iterdir())) == 2
    for other in records[1:]:
        assert [one.test_loss for one in other.results] == [one.test_loss for one in records[0].results]
        for key, mine in other.predictions.items():
            assert np.array_equal(mine.confidence, records[0].predictions[key].confidence)
        assert other.mistakes.files.tolist() == records[0].mistakes.files.tolist()
        assert np.array_equal(other.mistakes.images[:], records[0].mistakes.images[:])
        hashes = [each.study["resolved"]["data_hash"] for each in (other, records[0])]
        assert hashes[0] == hashes[1]


def test_a_size_under_the_nets_least_names_both_cures(tmp_path):
    study = build_study({"data": {"name": f"folder:{photos(tmp_path / 'photos')}", "size": 3}})
    with pytest.raises(UserError, match=r"cnn10k needs images of 4 pixels or more.*got '3×3'.*data\.size"):
        set_up(study, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
def test_a_set_larger_than_the_memory_that_is_allowed(tmp_path):
    """150 MB of pixels are hashed, measured and gathered with 75 MB allowed beyond what the process has."""
    side, count = 320, 500
    with (tmp_path / "pixels").open("wb") as file:
        for number in range(count):
            file.write(np.full(side * side * 3, number % 251, np.uint8).data)
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r", 0, (count, side, side, 3))
    images = Images(StoredPixels(mapped), np.arange(count) % 2).take(np.arange(count)[::-1].copy())
    status = Path("/proc/self/status").read_text().splitlines()
    held = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + 75_000_000, hard))
    try:
        with pytest.raises(MemoryError):
            images.pixels[:]
        assert len(images.content_hash()) == 64
        means = np.arange(count) % 251 / 255
        assert fit(images, "dataset").mean.flatten().tolist() == pytest.approx([means.mean()] * 3, abs=1e-6)
        tensors = ImageTensors.of(images, CPU)
        gathered = tensors.gather(torch.tensor([0, 499, 200]))
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    assert gathered[:, 5, 5, 1].tolist() == [499 % 251, 0, 299 % 251]


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from regulab.config import build_study
from regulab.data.formats import image_cache
from regulab.study import run
from regulab.training import loop
folder = Path(sys.argv[1])
study = build_study({
    "data": {"name": f"folder:{folder / 'photos'}", "size": 128, "augment": {"fill": "mean", "rotate": 5}},
    "model": {"name": f"{folder / 'net.py'}:tiny"}, "train": {"epochs": 1, "batch_size": 8},
    "seeds": 1, "arms": {"none": {}},
})
image_cache.WORTH_FILES = 1
status = Path("/proc/self/status").read_text().splitlines()
held = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (held + 220_000_000,) * 2)
try:
    np.zeros((4800, 128, 128, 3), np.uint8)[:] = 1
except MemoryError:
    run(study, folder / "run", data_root=folder)
    print("done")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits a process as Linux does")
def test_a_whole_study_runs_in_less_memory_than_its_wrong_images_take(tmp_path):
    """Loaded, trained, tested, recorded and reported: 236 MB of test pixels, most of them wrong, in 220 MB more than a
    process has that has imported everything."""
    for split, images in (("train", 60), ("test", 4800)):
        for number in range(images):
            path = tmp_path / "photos" / split / str(number % 12) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(RANDOM.integers(0, 256, (2, 2, 3), dtype=np.uint8)).save(path)
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n"
        "def tiny(in_channels, classes):\n"
        "    return nn.Sequential(nn.AvgPool2d(32), nn.Flatten(), nn.Linear(16 * in_channels, classes))\n"
    )
    environment = os.environ | {"REGULAB_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    shown = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert shown.stdout.endswith("done\n"), shown.stderr[-2000:]
    mistakes = read_records(tmp_path / "run").mistakes
    assert mistakes.images.nbytes > 200_000_000
    assert isinstance(mistakes.images, StoredImages)
    assert (tmp_path / "run" / "report.html").is_file()


def test_evaluation_takes_fewer_images_the_more_pixels_they_have():
    assert images_at_once(32, 32, 4, "cpu") == images_at_once(28, 28, 4, "cpu") == 1024
    assert images_at_once(64, 64, 4, "cpu") == 64
    assert images_at_once(224, 224, 1, "cpu") == 20
    assert images_at_once(2000, 2000, 3, "cpu") == 1
    assert images_at_once(64, 64, 4, "cuda") == 4096
