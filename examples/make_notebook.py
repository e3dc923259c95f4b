"""Writes `l1_l2.ipynb`, the assignment from Python, and executes it.

    python examples/make_notebook.py                       # digits, seven seeds, under a minute
    python examples/make_notebook.py --study l1-l2-mnist --seeds 1 --out l1_l2_mnist.ipynb

Needs ``pip install 'regulab[notebook]'``. The study runs in a temporary folder; a notebook whose outputs name
a place of this machine is not written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from textwrap import dedent

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

MARKDOWN, CODE = new_markdown_cell, new_code_cell
CELLS = [
    (
        MARKDOWN,
        """
        # L1 and L2, from Python

        One small convolutional network, trained four times over: without a penalty, with L1 (adds λ·Σ|w| to the loss),
        with L2 (adds λ/2·Σw²), and with both. The four runs of a seed start from the same weights and see the same
        images in the same order, so that what differs between them is the penalty and nothing else. Several seeds tell
        an effect from luck.

        The first line trains all of them side by side, tests each run once on images that nothing has seen before, and
        writes a report. Run it twice, and the second time it trains nothing; interrupted, it goes on where it stopped.
        """,
    ),
    (
        CODE,
        """
        import regulab as rl

        results = rl.run("{study}", seeds={seeds}{changes})
        """,
    ),
    (
        MARKDOWN,
        """
        ## Which one helps?

        Arms are compared seed by seed on the test accuracy of their final weights. A difference that could well
        be luck is called *undecided*.
        """,
    ),
    (CODE, "results.compare()"),
    (
        MARKDOWN,
        """
        ## The two graphs

        A line for every arm, the mean over its seeds; the legend says what the band is. Losses are without the
        penalty, else arms could not be compared. Look at the loss as well as at the accuracy: a network may go
        on getting images right while it grows surer of its mistakes.
        """,
    ),
    (CODE, "results.curves()"),
    (
        MARKDOWN,
        """
        ## What they get wrong

        Up to 25 test images that the arm with **L1** misclassifies, the most confident mistakes first, and then those
        of the arm with **L2**. An image that stands in both is hard for this network with either penalty.
        """,
    ),
    (CODE, 'results.misclassified("l1", 25)'),
    (CODE, 'results.misclassified("l2", 25)'),
    (
        MARKDOWN,
        """
        ## The log

        Every run and epoch is a row of a data frame; here the means over seeds.
        """,
    ),
    (
        CODE,
        """
        log = results.to_frame("epochs")
        log.groupby(["epoch", "arm"])[["val_accuracy", "val_loss"]].mean().round(4).unstack()
        """,
    ),
    (
        MARKDOWN,
        """
        ## In words

        The report's own sentences, drawn from the records. Watch the share of weights that are *exactly* zero:
        L1 can bring a weight there, L2 by itself cannot.
        """,
    ),
    (CODE, "results.observations"),
    (
        MARKDOWN,
        """
        ## Go on

        Change a strength or add an arm, under a name of its own:
        `rl.run(rl.Study(name="mine", arms={"none": {}, "strong": {"l1": 1e-3}, "dropout": {"dropout": 0.3}}))`;
        `regulab show techniques` lists what there is. Raise `seeds` and run again: the study is extended, what has been
        trained is kept, and as its verdict has been seen, all its seeds are judged by the rule that allows for such
        looks. `results.report` is the path of the whole report.
        """,
    ),
]


def build(study: str, seeds: int, epochs: int | None) -> nbformat.NotebookNode:
    """The notebook, not yet executed."""
    changes = "" if epochs is None else f', train={{"epochs": {epochs}}}'
    cells = []
    for number, (kind, text) in enumerate(CELLS):
        content = dedent(text).strip()
        if kind is CODE:
            content = (
                content.replace("{study}", study).replace("{seeds}", str(seeds)).replace("{changes}", changes)
            )
        cells.append(kind(content, id=f"cell-{number}"))  # nbformat would draw an id at random
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def execute(notebook: nbformat.NotebookNode) -> None:
    """Runs all cells in a temporary folder; raises where one fails, or where an output names this machine's places."""
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=3600, resources=resources, record_timing=False, coalesce_streams=True
        ).execute()
        places = {folder, str(Path.home()), sys.prefix, str(Path(__file__).resolve().parents[1])}
    outputs = nbformat.writes(new_notebook(cells=[c for c in notebook.cells if c.cell_type == "code"]))
    named = [place for place in places if place in outputs]
    assert not named, f"outputs name {', '.join(named)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--study", default="l1-l2")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("l1_l2.ipynb"))
    arguments = parser.parse_args()
    notebook = build(arguments.study, arguments.seeds, arguments.epochs)
    execute(notebook)
    nbformat.write(notebook, arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
