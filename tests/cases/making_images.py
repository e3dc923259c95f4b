"""Small folders of images for the cases."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RANDOM = np.random.default_rng(20)


def noise(height: int = 8, width: int = 8) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width), dtype=np.uint8)


def save(path: Path, array: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def fill(folder: Path, counts: Mapping[str, int]) -> Path:
    """So many grey images of noise in each class folder."""
    for name, count in counts.items():
        for number in range(count):
            save(folder / name / f"{number:02}.png", noise())
    return folder


def with_splits(folder: Path, **counts: int) -> Path:
    """``train`` and ``test`` (and ``val``), each with so many images of two classes."""
    for part, count in ({"train": 8, "test": 6} | counts).items():
        fill(folder / part, {"cat": count, "dog": count})
    return folder


def png_that_declares(width: int, height: int) -> bytes:
    """A grey PNG of that size whose pixels are all 0: 1 byte holds 1,000 of them."""
    packer = zlib.compressobj(1)
    row = bytes(width + 1)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
