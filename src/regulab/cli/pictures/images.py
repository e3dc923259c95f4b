"""What a technique does to images, or to the maps of a network, drawn on scikit-learn's digits."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regulab.cli.pictures.canvas import Block, Paper, shaded

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from regulab.techniques.technique import Edit, Technique

SHOWN = 4
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


def of_rates(example: Technique, paper: Paper) -> list[Block]:
    """The maps that dropout at the technique's rate leaves."""
    from regulab.models.layers.dropout import ElementDropout

    rates = type(example).stack([example]).rates
    if rates is None or rates[0] is None:
        return []
    return _through(ElementDropout(rates[0]), paper)


def of_edit(example: Edit, paper: Paper) -> list[Block]:
    """Maps as the layer that draws, which the edit puts into a network, leaves them."""
    from regulab.models.layers.draws import RandomLayer

    for module in _networks():
        before = {type(layer) for layer in module.modules()}
        changed = example.edit(module)
        if changed is None:
            continue
        new = [layer for layer in changed.modules() if type(layer) not in before]
        drawing = [one for one in new if isinstance(one, RandomLayer) and not list(one.parameters())]
        return _through(drawing[0], paper) if drawing else []
    return []


def _networks() -> list[nn.Module]:
    """Those of regulab that are soon built."""
    import torch

    from regulab.config import Model
    from regulab.models import build
    from regulab.streams import Streams

    x = torch.zeros(2, 1, 16, 16)
    return [
        build(Model(name=name, dropout=0.1), 1, 10, Streams("picture", SEED), x)
        for name in ("cnn10k", "resnet20")
    ]


def _through(layer: nn.Module, paper: Paper) -> list[Block]:
    """Two images of two channels in training: what is dropped is 0, and what is kept is scaled."""
    import torch

    from regulab.models.layers.draws import bind_layers

    generator = torch.Generator().manual_seed(SEED)

    def draw(shape: torch.Size) -> Tensor:
        return torch.randint(-(2**15), 2**15, tuple(shape), generator=generator, dtype=torch.int16)

    bind_layers(layer, lambda name, shape: draw(shape))
    x = (0.25 + 0.5 * digits()).view(2, 2, 8, 8)  # nowhere 0, so that what is dropped shows
    with torch.no_grad():
        y: Tensor = layer.train()(x)
    names = [f"image {image}, channel {channel}" for image in (1, 2) for channel in (1, 2)]
    maps = y.reshape(4, 8, 8).double().numpy()
    scaled = np.where(maps == 0, np.nan, maps)
    return [[name, *shaded(paper, one)] for name, one in zip(names, scaled, strict=True)]


def _before_and_after(paper: Paper, x: Tensor, after: Tensor, words: list[list[str]]) -> list[Block]:
    columns = []
    for before, changed, said in zip(x[:, 0], after[:, 0], words, strict=True):
        above, below = (shaded(paper, image.double().numpy()) for image in (before, changed))
        columns.append([*above, "↓" if paper.unicode else "v", *below, *said])
    return columns


def pictured(example: Technique, paper: Paper) -> list[Block]:
    """Blocks for what it does to images or maps."""
    from regulab.techniques.technique import Edit

    found = [*of_augmentation(example, paper), *of_batch(example, paper), *of_rates(example, paper)]
    return [*found, *(of_edit(example, paper) if isinstance(example, Edit) else [])]
