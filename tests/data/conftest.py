"""Where real MNIST lies, and small IDX files."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

WriteIdx = Callable[..., Path]


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    named = os.environ.get("REGULAB_DATA")
    if not named or not (Path(named) / "MNIST" / "raw").is_dir():
        pytest.skip("MNIST is absent: REGULAB_DATA does not name a folder that holds MNIST/raw")
    return Path(named)


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def write_mnist(tmp_path: Path) -> WriteIdx:
    """Writes a small MNIST (7 × 5 pixels) below a data root; keywords replace single files' arrays."""
    random = np.random.default_rng(3)

    def write(*, packed: bool = True, **replaced: np.ndarray) -> Path:
        arrays = {
            "train_images": random.integers(0, 256, (60, 7, 5)),
            "train_labels": np.arange(60) % 10,
            "t10k_images": random.integers(0, 256, (20, 7, 5)),
            "t10k_labels": np.arange(20) % 10,
        } | replaced
        raw = tmp_path / "MNIST" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for key, array in arrays.items():
            split, kind = key.split("_")
            name = f"{split}-{kind}-idx{array.ndim}-ubyte"
            content = idx_bytes(array)
            if packed:
                (raw / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
            else:
                (raw / name).write_bytes(content)
        return tmp_path

    return write
