"""What a technique does to images, drawn on scikit-learn's digits."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regulab.cli.pictures.canvas import Block, Paper, shaded

if TYPE_CHECKING:
    from torch import Tensor

    from regulab.techniques.technique import Technique

DIGITS = (3, 0, 7, 4)
SEED = 21  # with which a batch is mixed by halves, and every digit with another


def digits() -> Tensor:
    """One of each of `DIGITS`, ``(4, 1, 8, 8)`` in [0, 1]: from the file, as importing scikit-learn takes a second."""
    import torch

    spec = find_spec("sklearn")
    assert spec is not None, "scikit-learn is among the packages of the program"
    path = Path(str(spec.origin)).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt") as lines:
        rows = np.loadtxt(lines, delimiter=",", max_rows=30)
    chosen = [rows[rows[:, -1] == digit][0, :-1] for digit in DIGITS]
    return torch.from_numpy(np.stack(chosen) / 16).float().view(-1, 1, 8, 8)


def of_augmentation(example: Technique, paper: Paper) -> list[Block]:
    """Digits, and the same as they train."""
    import torch

    from regulab.data.augmentation import augment, columns_of, draw_epoch
    from regulab.streams import Streams

    settings = (type(example).stack([example]).augment or [None])[0]
    if settings is None:
        return []
    x = digits()
    drawn = draw_epoch(Streams("picture", SEED), 1, len(x), columns_of([settings]))
    draws = {stream: torch.from_numpy(table) for stream, table in drawn.items()}
    after = augment(x, draws, settings.operations(), x.mean((0, 2, 3))[:, None, None])
    return _before_and_after(paper, x, after, [[]] * len(x))


def of_batch(example: Technique, paper: Paper) -> list[Block]:
    """A batch of four digits, and the same as a step gets it, with the targets."""
    import torch
    import torch.nn.functional as F

    hooks = type(example).stack([example])
    if hooks.batch is None:
        return []
    x, generator = digits(), torch.Generator().manual_seed(SEED)
    targets = F.one_hot(torch.tensor(DIGITS), 10).float()
    drawn = {
        name: torch.rand(1, len(x), columns, generator=generator) for name, columns in hooks.draws.items()
    }
    after, soft = hooks.batch(x[:, None], targets[:, None], drawn)
    words = []
    for row in soft[:, 0]:
        shares = [(float(share), label) for label, share in enumerate(row) if share > 0]
        words.append([f"{share:.2g} of {label}" for share, label in sorted(shares, reverse=True)])
    return _before_and_after(paper, x, after[:, 0], words)


def _before_and_after(paper: Paper, x: Tensor, after: Tensor, words: list[list[str]]) -> list[Block]:
    columns = []
    for before, changed, said in zip(x[:, 0], after[:, 0], words, strict=True):
        above, below = (shaded(paper, image.double().numpy()) for image in (before, changed))
        columns.append([*above, "↓" if paper.unicode else "v", *below, *said])
    return columns


def pictured(example: Technique, paper: Paper) -> list[Block]:
    """Blocks for what it does to images."""
    return [*of_augmentation(example, paper), *of_batch(example, paper)]
