"""Makes 300 coloured pictures of three classes and many sizes in ``photos/``, for a first `regulab init photos`."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

rng = np.random.default_rng(0)
for name in ("disc", "square", "stripes"):
    folder = Path("photos", name)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(100):
        width, height = rng.integers(90, 640, 2)
        noise = rng.normal(rng.integers(60, 190, 3), 18, (height // 8 + 1, width // 8 + 1, 3))
        picture = Image.fromarray(noise.clip(0, 255).astype(np.uint8)).resize((int(width), int(height)))
        draw, colour = ImageDraw.Draw(picture), tuple(rng.integers(0, 256, 3).tolist())
        side = min(width, height) * rng.uniform(0.4, 0.8)
        left, top = (width - side) / 2 * rng.uniform(0.5, 1.5), (height - side) / 2 * rng.uniform(0.5, 1.5)
        if name == "disc":
            draw.ellipse((left, top, left + side, top + side), fill=colour)
        elif name == "square":
            draw.rectangle((left, top, left + side, top + side), fill=colour)
        else:
            for step in range(5):
                draw.rectangle(
                    (left + step * side / 5, top, left + (step + 0.5) * side / 5, top + side), fill=colour
                )
        picture.save(folder / f"{number:03}.jpg")
