from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from regulab.reporting.rendering import render, with_palette


def test_a_palette_is_given_to_drawings_and_not_to_photographs():
    figure = Figure(figsize=(4, 2))
    figure.subplots().plot([0, 1, 3], [2, 0, 1], color="#0072B2")
    drawing = render(figure, "png")
    small = with_palette(drawing)
    assert len(small) < len(drawing) / 2
    before, after = (np.asarray(Image.open(io.BytesIO(b)).convert("RGB"), int) for b in (drawing, small))
    assert np.abs(before - after).max() < 40
    assert np.abs(before - after).mean() < 0.2
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "png")
    assert with_palette(buffer.getvalue()) == buffer.getvalue()
