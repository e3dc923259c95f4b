"""The way of an optimizer down a narrow valley, by its own ``step``."""

from __future__ import annotations

import numpy as np

from regulab.cli.pictures.canvas import Block, Paper, Polyline, plot
from regulab.optimizers.optimizer import Optimizer

START, STEPS = (-2.0, 0.8), 60
RATES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
SLOPES = (1.0, 12.0)  # of L = (a² + 12 b²)/2 in its two directions
RING = np.linspace(0, 2 * np.pi, 90)


def picture(kind: type[Optimizer], paper: Paper) -> Block:
    """Sixty steps, and two contour lines; at the rate, of some, at which the loss ends lowest."""
    import torch

    values = kind.examples()[0]
    # A matrix of one row ``(R, 1, 2)``: some optimizers step vectors otherwise.
    slopes, start = torch.tensor([[SLOPES]]).double(), torch.tensor([[START]]).double()

    def loss(w: torch.Tensor) -> float:
        return float((slopes * w**2).sum() / 2)

    def way(lr: float) -> list[list[float]]:
        w, state = start, tuple(torch.zeros_like(start) for _ in values.state_names)
        places = [w[0, 0].tolist()]
        for t in range(1, STEPS + 1):
            w, state, _ = values.step(w, slopes * w, state, lr, t)
            places.append(w[0, 0].tolist())
        return places

    ways = {lr: np.array(way(lr)) for lr in RATES}
    lr = min(RATES, key=lambda lr: loss(torch.tensor(ways[lr][-1:])))
    contours = []
    for level in (loss(start), loss(start) / 4):
        axes = [np.sqrt(2 * level / slope) for slope in SLOPES]
        contours.append(Polyline(axes[0] * np.cos(RING), axes[1] * np.sin(RING), reference=True))
    fields = values.model_dump(exclude_none=True).items()
    said = ", ".join(f"{key} {value}" for key, value in fields if key not in ("name", "lr"))
    title = f"{STEPS} steps down L = (a² + {SLOPES[1]:g} b²)/2, lr {lr:g}" + (f", {said}" if said else "")
    return plot(paper, [*contours, Polyline(ways[lr][:, 0], ways[lr][:, 1])], title, "a", columns=56)
