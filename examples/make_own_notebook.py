"""Writes `own_arrays.ipynb`, a study of one's own arrays and one's own class from Python, and executes it.

    python examples/make_own_notebook.py       # scikit-learn's digits as arrays, seven seeds, under a minute

Needs ``pip install 'regulab[notebook]'``. As with `make_notebook.py`, the study runs in a temporary folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from textwrap import dedent

import nbformat
from make_notebook import CODE, MARKDOWN, execute
from nbformat.v4 import new_notebook

CELLS = [
    (
        MARKDOWN,
        """
        # Your own arrays, your own network

        You have images as arrays and a `torch.nn.Module` that you wrote in a cell, and want to know whether a
        regularizer helps *this* network on *these* images. Nothing has to be saved to a file first.

        Here the images are scikit-learn's 1,797 handwritten digits, of 8 × 8 pixels, with levels from 0 to 16. regulab
        takes bytes, or floats from 0 to 1, in the shape `(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)`; a label is
        anything that can be told apart.
        """,
    ),
    (
        CODE,
        """
        from sklearn.datasets import load_digits

        digits = load_digits()
        x = digits.images / 16
        y = ["even" if digit % 2 == 0 else "odd" for digit in digits.target]
        x.shape, x.min(), x.max(), y[:5]
        """,
    ),
    (
        MARKDOWN,
        """
        ## The network

        A class as you would write it anyway. Parameters with the usual names of channels and classes (`in_channels`,
        `num_classes` …) are filled in, all others need defaults; a function that returns a new network will do as
        well. Other cells may hold what it uses.
        """,
    ),
    (
        CODE,
        """
        from torch import nn

        WIDTH = 16


        class SmallNet(nn.Module):
            def __init__(self, in_channels, classes):
                super().__init__()
                self.features = nn.Sequential(
                    nn.Conv2d(in_channels, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.MaxPool2d(2),
                    nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU(),
                )
                self.head = nn.Linear(WIDTH * 4 * 4, classes)

            def forward(self, x):
                return self.head(self.features(x).flatten(1))
        """,
    ),
    (
        MARKDOWN,
        """
        ## The question

        Three arms: the network as it is, with an L2 penalty, and with smoothed labels. These arrays come without a
        split, so a fixed fifth of them, stratified by class, is set apart for the test and another for validation;
        `data=(x_train, y_train, x_test, y_test)` would say what tests.
        """,
    ),
    (
        CODE,
        """
        import regulab as rl

        study = rl.Study(
            name="even-or-odd",
            model=SmallNet,
            data=(x, y),
            train={"epochs": 10, "batch_size": 64},
            seeds={seeds},
            arms={"none": {}, "l2": {"l2": 1e-3}, "label smoothing": {"label_smoothing": 0.1}},
        )
        results = rl.run(study)
        """,
    ),
    (CODE, "results.compare()"),
    (CODE, 'results.misclassified("none", 25)'),
    (
        MARKDOWN,
        """
        ## What was kept

        The study file of the run directory cannot hold arrays or a class. It names them by a hash of their content, and
        the directory keeps both: the images as bytes, and the source of the class with what it needs.
        """,
    ),
    (
        CODE,
        """
        for path in sorted((results.directory / "given").rglob("*.*")):
            print(path.name, path.stat().st_size, "bytes")
            if path.suffix == ".py":
                print(path.read_text())
        """,
    ),
    (
        MARKDOWN,
        """
        So the study goes on in another session with the same arrays and class, or without them from the command line:
        `regulab run runs/even-or-odd/study.yaml --seeds 14`. A changed class or other images are refused, for they
        would be another study: give that one another `name`.
        """,
    ),
    (
        CODE,
        """
        WIDTH = 17
        changed = rl.load_study(study, model=SmallNet)
        try:
            rl.run(changed, progress=None)
        except rl.UserError as error:
            print(error)
        """,
    ),
]


def build(seeds: int) -> nbformat.NotebookNode:
    """The notebook, not yet executed."""
    cells = [
        kind(dedent(text).strip().replace("{seeds}", str(seeds)), id=f"cell-{number}")
        for number, (kind, text) in enumerate(CELLS)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("own_arrays.ipynb"))
    arguments = parser.parse_args()
    notebook = build(arguments.seeds)
    execute(notebook)
    nbformat.write(notebook, arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
