"""Images of one's own: how long they take to load, first and from the cache, and how much memory.

Makes its pictures from code: 500 photographs of 40 sizes, up to 12 megapixels, in every way that cameras and the web
store them, and 50,000 files of 64 × 64. Each measurement is a process of its own. Memory is what a process cannot give
back, `RssAnon` of Linux at its highest: pages of mapped files are not part of it. The last measurement loads 2.46 GB of
pixels; `beyond_memory.py` takes such a set to its report.

    python benchmarks/photographs.py --out benchmarks/results/photographs-2026-11-27
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ("disc", "square", "stripes")
SIZES = 40
LARGEST = (4000, 3000)  # 12 megapixels
DRAWN = 500  # pixels a side
ORIENTATIONS = (1, 3, 6, 8)
KINDS = ("jpg", "turned", "png", "palette", "cmyk", "deep", "webp", "gif", "tif", "grey", "bits", "opaque")
SMALL = 50_000
ENLARGED = 256  # pixels a side that a quarter of them is enlarged to, in the last measurement: 2.46 GB


def drawn(kind: str, width: int, height: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """A picture of a class ``(H, W, 3)``: its shape in a colour, on a ground of a colour, with some noise."""
    if max(width, height) > DRAWN:  # enlarged from there: drawing 12 megapixels takes seconds
        scale = DRAWN / max(width, height)
        coarse = drawn(kind, max(1, round(width * scale)), max(1, round(height * scale)), random)
        return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    x0, y0, size = random.uniform(-0.3, 0.3), random.uniform(-0.3, 0.3), random.uniform(0.3, 0.6)
    inside = {
        "disc": (x - x0) ** 2 + (y - y0) ** 2 < size**2,
        "square": np.maximum(abs(x - x0), abs(y - y0)) < size,
        "stripes": np.sin(12 * (x + x0)) > 0.3,
    }[kind]
    ground, colour = random.uniform(20, 110, 3), random.uniform(140, 235, 3)
    noise = random.normal(0, 12, (height, width, 1))
    return np.clip(np.where(inside[..., None], colour, ground) + noise, 0, 255).astype(np.uint8)


def save(picture: NDArray[np.uint8], kind: str, path: Path, orientation: int) -> Path:
    """The picture in a file of a kind of `KINDS`; ``turned`` is stored as a camera that was held so stores it."""
    image = Image.fromarray(picture)
    if kind == "turned":
        # What undoes each orientation, so that a viewer which obeys it shows the picture upright.
        undo = {
            1: None,
            3: Image.Transpose.ROTATE_180,
            6: Image.Transpose.ROTATE_90,
            8: Image.Transpose.ROTATE_270,
        }
        exif, turn = Image.Exif(), undo[orientation]
        exif[0x0112] = orientation
        path = path.with_suffix(".jpg")
        (image if turn is None else image.transpose(turn)).save(path, quality=90, exif=exif)
        return path
    ending = {
        "palette": ".png",
        "cmyk": ".jpg",
        "deep": ".png",
        "grey": ".jpeg",
        "bits": ".png",
        "opaque": ".png",
    }
    path = path.with_suffix(ending.get(kind, f".{kind}"))
    if kind == "deep":
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)
        return path
    modes = {"palette": "P", "cmyk": "CMYK", "grey": "L", "bits": "1", "opaque": "RGBA", "gif": "P"}
    image.convert(modes.get(kind, "RGB")).save(path)
    return path


def make_photographs(
    folder: Path, count: int = 500, largest: tuple[int, int] = LARGEST, seed: int = 0
) -> Path:
    """So many pictures in class folders: of `SIZES` sizes up to ``largest``, of every kind of `KINDS` in turn."""
    random = np.random.default_rng(seed)
    shares = np.geomspace(0.02, 1, SIZES)
    turned = random.permutation(count)
    for number in range(count):
        name = CLASSES[number % len(CLASSES)]
        share = shares[turned[number] % SIZES]
        width, height = (max(8, round(side * share)) for side in largest)
        if turned[number] % 3 == 0:
            width, height = height, width
        picture = drawn(name, width, height, random)
        path = folder / name / f"{number:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Kinds and classes go on at different paces, so that no kind of file tells the class.
        save(picture, KINDS[(number // len(CLASSES)) % len(KINDS)], path, ORIENTATIONS[number % 4])
    return folder


def make_small(folder: Path, count: int, side: int = 64) -> Path:
    """So many files of ``side`` × ``side`` in ten class folders, JPEG and PNG in turn."""
    random = np.random.default_rng(1)
    for number in range(count):
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)).astype(
            int
        )
        picture = np.clip(picture + random.integers(-8, 9, picture.shape), 0, 255).astype(np.uint8)
        path = folder / f"class {number % 10}" / f"{number:05}.{'png' if number // 10 % 2 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return folder


class Highest:
    """The most memory of this process that no file stands behind, in bytes, looked at every 5 ms."""

    def __init__(self) -> None:
        self.bytes, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Highest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.bytes = max(self.bytes, anonymous())


def anonymous() -> int:
    """`RssAnon` of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def loaded(folder: str, size: str, deep: str = "") -> dict[str, Any]:
    """Loads a folder with all that a study does before it trains: splits, hashes, copies, constants."""
    from regulab.config import Data, Protocol
    from regulab.data import load
    from regulab.data.preprocessing import fit

    # Pictures of 16 bits beside others need the range that only a person can declare.
    levels, side = (0, 65535) if deep else None, int(size) if size != "none" else None
    data = Data(name=f"folder:{folder}", size=side, range=levels)
    before, start, used = anonymous(), time.perf_counter(), time.process_time()
    with Highest() as highest:
        splits = load(data, Protocol(), Path())
        fit(splits.train, "dataset")
    seconds, used = time.perf_counter() - start, time.process_time() - used
    test = splits.open_test()
    pixels = splits.train.pixels.nbytes + splits.validation.pixels.nbytes + test.pixels.nbytes
    return {
        "seconds": seconds,
        "processor_seconds": used,  # tells more on a machine that others use too
        "memory_before": before,
        "memory": highest.bytes,
        "pixels": pixels,
        "images": len(splits.train) + len(splits.validation) + len(test),
        "content_hash": splits.content_hash,
    }


def measured(cache: Path, *arguments: str) -> dict[str, Any]:
    """A measurement in a process of its own, with a cache folder."""
    command = [sys.executable, __file__, "--measure", *arguments]
    environment = os.environ | {"REGULAB_CACHE": str(cache)}
    shown = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    print(arguments, found, file=sys.stderr)
    return found


def main() -> None:
    from regulab.files import json_bytes, write_whole

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="without an ending")
    parser.add_argument("--small", type=int, default=SMALL)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(loaded(*asked.measure[1:])))
        return
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        photographs = make_photographs(root / "photographs")
        small, fewer = (make_small(root / str(count), count) for count in (asked.small, asked.small // 4))
        found = {
            "photographs, first": measured(root / "cache", "load", str(photographs), "64", "deep"),
            "photographs, from the cache": measured(root / "cache", "load", str(photographs), "64", "deep"),
            "small, first": measured(root / "cache", "load", str(small), "none"),
            "small, from the cache": measured(root / "cache", "load", str(small), "none"),
            "beyond memory, first": measured(root / "cache", "load", str(fewer), str(ENLARGED)),
        }
    if asked.out:
        about = {"date": str(datetime.date.today()), "command": shlex.join(["python", *sys.argv])}
        write_whole(asked.out.with_suffix(".json"), json_bytes(about | machine() | {"measured": found}))


def machine() -> dict[str, Any]:
    """What a figure depends on."""
    import PIL
    import torch
    from PIL import features

    cores = len(os.sched_getaffinity(0))
    turbo = features.version("libjpeg_turbo")
    return {"cores": cores, "torch": torch.__version__, "pillow": PIL.__version__, "libjpeg_turbo": turbo}


if __name__ == "__main__":
    main()
