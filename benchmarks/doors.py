"""The same images through every door: are the records the same to the byte?

MNIST is given as its own four files, as a table of PNG files, as an ``.npz``, as arrays, as tensors of floats and as a
`torch.utils.data.Dataset`, each in the order of the files; then, ordered by class, also as a folder of PNG files, which
are read class by class. Each door loads all images, which are compared by their hashes; then a small study trains on
some of them, and its predictions, weights, orders, epochs and results are compared byte for byte, but for the seconds.

    python benchmarks/doors.py --data-root DATA --out benchmarks/doors.md
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import io
import json
import shlex
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

import regulab as rl
from regulab.data import find_dataset
from regulab.data.dataset import Images
from regulab.training.environment import processor

PLAIN = "the four files"


@dataclass(frozen=True)
class Parts:
    """Grey images ``(N, H, W, 1)`` that train and that test."""

    train: Images
    test: Images

    def by_class(self) -> Parts:
        """The same, ordered by class; within a class as before."""
        return Parts(*(part.take(np.argsort(part.labels, kind="stable")) for part in (self.train, self.test)))

    def named(self) -> dict[str, Images]:
        return {"train": self.train, "test": self.test}


class Pictures(Dataset[tuple[Image.Image, int]]):
    """Pillow's images with their labels."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images.pixels[index, ..., 0]), int(self.images.labels[index])


def doors(parts: Parts, folder: Path, *, with_folder: bool) -> dict[str, Callable[[], Any]]:
    """What ``data`` of a study may be for the same images, by the name of the door; files are written below ``folder``.

    A folder gives its images class by class: it gives the same as the others only where these are ordered so.
    """
    write_files(parts, folder)
    train, test = parts.train, parts.test
    x, y, x_test, y_test = train.pixels[..., 0], train.labels, test.pixels[..., 0], test.labels
    np.savez(folder / "set.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    found: dict[str, Callable[[], Any]] = {
        PLAIN: lambda: "mnist",
        "a table (CSV) of PNG files": lambda: str(folder / "images.csv"),
        "a file of arrays (npz)": lambda: str(folder / "set.npz"),
        "arrays": lambda: (x, y, x_test, y_test),
        "tensors of floats": lambda: {
            name: (torch.from_numpy(part.pixels).permute(0, 3, 1, 2) / 255, torch.from_numpy(part.labels))
            for name, part in parts.named().items()
        },
        "a Dataset of pictures": lambda: (Pictures(train), Pictures(test)),
    }
    return found | ({"a folder of PNG files": lambda: f"folder:{folder / 'images'}"} if with_folder else {})


def write_files(parts: Parts, folder: Path) -> None:
    """MNIST's four files under ``MNIST/raw``, every image as ``images/PART/CLASS/NUMBER.png``, and their table."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rows = [("file_name", "label", "split")]
    for name, stem, part in (("train", "train", parts.train), ("test", "t10k", parts.test)):
        count, height, width, _ = part.pixels.shape
        header = struct.pack(">IIII", 0x803, count, height, width)
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(header + part.pixels[:].tobytes())
        labels = part.labels.astype(np.uint8).tobytes()
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels)
        for label in range(10):
            (folder / "images" / name / str(label)).mkdir(parents=True)
        for number, (image, label) in enumerate(zip(part.pixels[..., 0], part.labels.tolist(), strict=True)):
            file = f"images/{name}/{label}/{number:05}.png"
            Image.fromarray(image).save(folder / file, compress_level=1)
            rows.append((file, str(label), name))
    with (folder / "images.csv").open("w", newline="") as table:
        csv.writer(table).writerows(rows)


def content_hashes(data: Any, root: Path) -> tuple[str, ...]:
    """What a door loads: hashes of the training and of the test images, and the names of the classes."""
    content = find_dataset(rl.Study(data=data).data).load(root)
    return content.content_hash, content.open_test().content_hash(), *content.class_names


def record_hashes(
    data: Any, root: Path, out: Path, train_images: int | None, **content: Any
) -> Mapping[str, str]:
    """Hashes of what a study of a door records that trains on so many of the images."""
    study = rl.Study(data={"name": data, "train_images": train_images}, **content)
    rl.run(study, out=out, data_root=root, progress=None)
    found = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.parent.parent in (out / "predictions", out / "weights") or path.name == "orders.json"
    }
    found["results.csv"] = _without_seconds((out / "results.csv").read_text())
    epochs = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    found["history.jsonl"] = json.dumps([{**epoch, "seconds": None} for epoch in epochs]).encode()
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def _without_seconds(results: str) -> bytes:
    rows = list(csv.DictReader(io.StringIO(results)))
    return json.dumps([{**row, "seconds": None} for row in rows]).encode()


def compare(parts: Parts, folder: Path, *, with_folder: bool, **content: Any) -> list[str]:
    """A row of the table for each door."""
    rows: list[str] = []
    first_images: tuple[str, ...] = ()
    first_records: Mapping[str, str] = {}
    for number, (name, data) in enumerate(doors(parts, folder, with_folder=with_folder).items()):
        start = time.perf_counter()
        images = content_hashes(data(), folder)
        seconds = time.perf_counter() - start
        records = record_hashes(data(), folder, folder / f"run-{number}", **content)
        if name == PLAIN:
            first_images, first_records = images, records
        same = "yes" if images == first_images else "NO"
        differ = [one for one in {**records, **first_records} if records.get(one) != first_records.get(one)]
        said = f"all {len(records)} the same" if not differ else f"DIFFERENT: {', '.join(differ)}"
        rows.append(f"| {name} | {seconds:.1f} | {same} | {said} |")
        print(rows[-1], flush=True)
    return rows


def mnist(root: Path, train: int | None, test: int | None) -> Parts:
    content = find_dataset("mnist").load(root)
    test_images = content.open_test()
    first, first_test = np.arange(len(content.train))[:train], np.arange(len(test_images))[:test]
    return Parts(content.train.take(first), test_images.take(first_test))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-root", type=Path, default=rl.data_root())
    parser.add_argument("--train", type=int, help="so many of the training images; all unless told")
    parser.add_argument("--test", type=int, help="so many of the test images; all unless told")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    parts = mnist(arguments.data_root, arguments.train, arguments.test)
    content: dict[str, Any] = {
        "name": "doors",
        "train_images": None if arguments.train else 6000,
        "train": {"epochs": 2},
        "seeds": 2,
        "arms": {"none": {}, "l1": {"l1": 1e-4}},
    }
    head = ["| door | seconds to load | the same images | the same records |", "| --- | --: | --- | --- |"]
    sizes = f"{len(parts.train):,} training and {len(parts.test):,} test images"
    lines = [
        "# The same images through every door",
        "",
        f"{datetime.date.today()}, {processor()}, regulab {rl.__version__}, torch {torch.__version__}, "
        f"numpy {np.__version__}. Command: `{shlex.join(['python', *sys.argv])}`. {sizes} of MNIST; cnn10k on "
        f"{content['train_images'] or 'all'} of them for {content['train']['epochs']} epochs, two arms, two seeds. "
        "Seconds are for loading and checking all images, on a machine that others used too; the folder finds what "
        "the table of the same files left in the cache of decoded images.",
        "",
    ]
    for title, ordered, with_folder in (
        ("In the order of the files", parts, False),
        ("Ordered by class", parts.by_class(), True),
    ):
        with tempfile.TemporaryDirectory() as folder:
            rows = compare(ordered, Path(folder), with_folder=with_folder, **content)
        lines += [f"## {title}", "", *head, *rows, ""]
    text = "\n".join(lines)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
