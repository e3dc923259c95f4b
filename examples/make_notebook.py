"""Writes `l1_l2.ipynb`, the assignment from Python, and executes it.

    python examples/make_notebook.py                       # digits, seven seeds, under a minute
    python examples/make_notebook.py --data mnist --seeds 1 --out l1_l2_mnist.ipynb

Needs ``pip install 'regulab[notebook]'``. The study runs in a temporary folder; a notebook whose outputs name
a place of this machine is not written.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from textwrap import dedent

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

TITLE = """
    # L1 and L2, from Python

    One small convolutional network, trained four times over: without a penalty, with L1, with L2, and with
    both. The four runs of a seed start from the same weights and see the same images in the same order, so
    that what differs between them is the penalty and nothing else. Several seeds tell an effect from luck.

    The command line does the same with `regulab run`; here each step is in your hands.
"""
STUDY_TEXT = """
    ## The study

    A study is one question: a dataset, a network, a way to train, and the *arms* to be compared. An arm maps
    the names of techniques to strengths. L1 adds λ·Σ|w| to the loss, L2 adds λ/2·Σw². What is left out has
    a default; printing the study shows them all.
"""
STUDY_CODE = """
    import regulab

    study = regulab.build_study({{
        "name": "l1-l2-{data}",
        "data": {settings},
        "model": {{"name": "cnn10k", "norm": "batch", "dropout": 0.05}},
        "train": {{"epochs": {epochs}, "batch_size": 128}},
        "seeds": {seeds},
        "baseline": "none",
        "arms": {{
            "none": {{}},
            "l1": {{"l1": 1e-4}},
            "l2": {{"l2": 1e-4}},
            "l1+l2": {{"l1": 1e-4, "l2": 1e-4}},
        }},
    }})
    print(study.to_yaml())
"""
LOG_TEXT = """
    ## Training

    All arms and seeds train side by side, as one *fleet*. After each epoch regulab tells whoever listens how
    every run does on the validation images; this listener prints, for each arm, the mean over its seeds.
"""
LOG_CODE = """
    from statistics import fmean

    from regulab.progress import Silent


    class EpochLog(Silent):
        def epoch(self, records):
            if records[0].epoch == 1:
                print("epoch  validation accuracy, loss: means over seeds", sorted({r.seed for r in records}))
            cells = []
            for arm in study.arms:
                own = [r for r in records if r.arm == arm and r.val_loss is not None]
                if own:
                    accuracy, loss = fmean(r.val_accuracy for r in own), fmean(r.val_loss for r in own)
                    cells.append(f"{arm}: {accuracy:.2f} %, {loss:.4f}")
            print(f"{records[0].epoch:5d}  " + "   ".join(cells))
"""
RUN_TEXT = """
    `run` trains what is missing in the run directory, then tests every run once on images that nothing has
    seen before, and writes the report. Interrupted, it goes on where it stopped; run this cell twice, and
    the second time it trains nothing.
"""
RUN_CODE = """
    from pathlib import Path

    directory = Path("runs") / study.name
    outcome = regulab.run(study, directory, data_root=regulab.data_root(), progress=EpochLog())
    print(outcome.trained, "runs trained; the report is", outcome.report)
"""
CURVES_TEXT = """
    ## The two graphs

    A line for every arm, the mean over its seeds; the legend says what the band is. Losses are without the
    penalty, else arms could not be compared. Look at the loss as well as at the accuracy: a network may go
    on getting images right while it grows surer of its mistakes.
"""
PICTURE_CODE = """
    from IPython.display import Image

    Image(outcome.directory / "{path}", width=800)
"""
GALLERY_TEXT = """
    ## What they get wrong

    Up to 25 test images that the arm with **L1** misclassifies, the most confident mistakes first …
"""
GALLERY_L2_TEXT = """
    … and those of the arm with **L2**. An image that stands in both is hard for this network with either
    penalty; fewer than 25 means that there are no more.
"""
TABLE_TEXT = """
    ## Which one helps?

    Arms are compared seed by seed on the test accuracy of their final weights. A difference that could well
    be luck is called *undecided*, and the last column says how many seeds it would take.
"""
TABLE_CODE = """
    from IPython.display import Markdown

    from regulab.reporting.tables import rows

    records = regulab.read_records(outcome.directory)
    comparison = regulab.compare(records)
    table = ["| arm | test accuracy, % | 95 % interval | difference | its 95 % interval | verdict | |",
             "| --- | ---: | ---: | ---: | ---: | --- | --- |"]
    for row in rows(records, comparison):
        table.append(f"| {{row.legend}} | {{row.mean}} | {{row.interval}} | {{row.difference}} "
                     f"| {{row.difference_interval}} | {{row.verdict}} | {{row.remark}} |")
    Markdown("\\n".join(table))
"""
OBSERVATIONS_TEXT = """
    ## In words

    The report's own sentences, drawn from the records. Watch the share of weights that are *exactly* zero:
    L1 can bring a weight there, L2 by itself cannot. Most weights of this network stand before batch
    normalization, which undoes their scale; the last note says what a penalty does there.
"""
OBSERVATIONS_CODE = """
    from regulab.reporting.data import ReportData
    from regulab.reporting.observations import notes, observe

    paragraphs = [f"**{{o.heading}}**\\n\\n{{' '.join(o.sentences)}}" for o in observe(ReportData(records))]
    Markdown("\\n\\n".join(paragraphs + [f"- {{note}}" for note in notes(records, comparison)]))
"""
NEXT_TEXT = """
    ## Go on

    Change a strength or add an arm, such as `"l1 strong": {"l1": 1e-3}` or `"dropout": {"dropout": 0.3}`,
    under another study name; `regulab show techniques` lists what there is. Raise `seeds` and run again: the
    study is extended, what has been trained is kept, and as its verdict has been seen, all its seeds are judged by
    the rule that allows for such looks.
"""


def build(data: str, epochs: int, seeds: int) -> nbformat.NotebookNode:
    """The notebook, not yet executed."""
    settings = json.dumps({"name": data} if data == "digits" else {"name": data, "augment": {"rotate": 7}})
    parts = [
        TITLE,
        STUDY_TEXT,
        (STUDY_CODE, {"data": data, "settings": settings, "epochs": epochs, "seeds": seeds}),
        LOG_TEXT,
        (LOG_CODE, None),
        RUN_TEXT,
        (RUN_CODE, None),
        CURVES_TEXT,
        (PICTURE_CODE, {"path": "figures/val_accuracy.png"}),
        (PICTURE_CODE, {"path": "figures/val_loss.png"}),
        GALLERY_TEXT,
        (PICTURE_CODE, {"path": "misclassified/l1.png"}),
        GALLERY_L2_TEXT,
        (PICTURE_CODE, {"path": "misclassified/l2.png"}),
        TABLE_TEXT,
        (TABLE_CODE, {}),
        OBSERVATIONS_TEXT,
        (OBSERVATIONS_CODE, {}),
        NEXT_TEXT,
    ]
    cells = []
    for number, part in enumerate(parts):
        identity = f"cell-{number}"  # nbformat would draw one at random
        if isinstance(part, str):
            cells.append(new_markdown_cell(dedent(part).strip(), id=identity))
        else:
            code, values = part
            text = dedent(code).strip()
            cells.append(new_code_cell(text if values is None else text.format(**values), id=identity))
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
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("l1_l2.ipynb"))
    arguments = parser.parse_args()
    notebook = build(arguments.data, arguments.epochs, arguments.seeds)
    execute(notebook)
    nbformat.write(notebook, arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
