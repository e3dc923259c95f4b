"""``regulab compact``: a trained run as a smaller network, checked on the test split, and its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, fx, nn

from regulab import identity
from regulab.config import Study, load_study
from regulab.errors import UserError, did_you_mean
from regulab.evaluation.compaction import Compaction, compact
from regulab.evaluation.compaction.measuring import Costs, Sparse, costs, sparse
from regulab.evaluation.compaction.module_file import MODULE, WEIGHTS, About, module_source, tensors
from regulab.evaluation.compaction.onnx_file import ONNX, missing, onnx_bytes
from regulab.evaluation.compaction.same import SamePredictions, logits, same_predictions
from regulab.files import file_name, json_bytes
from regulab.records import DIVERGED
from regulab.run_directory.checksums import read_checksums
from regulab.run_directory.names import STUDY, weights_path
from regulab.run_directory.places import check_folder, write_inside
from regulab.run_directory.reading import read_predictions, read_study, read_weights
from regulab.run_directory.rows import readable_results
from regulab.training.batches import ImageTensors
from regulab.training.machine import process_settings
from regulab.training.setup import Setup, set_up

FOLDER = "compact"  # in a run directory: no name of regulab's own, so `--fresh` leaves what lies there
NUMBERS = "compact.json"
HELD = "nothing was removed: {} channels have no effect, but stay because of the layers named here"
WITHOUT_ZEROS = (
    "nothing to remove: no filter is zero throughout, and none is without a reader. Zeros come from l1 and "
    "group_lasso, group_lasso's filter by filter; `regulab path --technique group_lasso` shows which "
    "strengths make them, and what that costs"
)


@dataclass(frozen=True)
class Compacted:
    """A run as a smaller network, what it saves, and where it was saved.

    ``before`` and ``after``: parameters, multiply-adds, bytes, milliseconds by batch. ``notes``: what a person should
    know, such as a file that could not be written.
    """

    study: str
    arm: str
    seed: int
    report: Compaction
    before: Costs
    after: Costs
    predictions: SamePredictions
    sparse: Sparse | None
    split: str  # whose images the predictions were compared on: test, or validation where the test split stays closed
    onnx_difference: float | None
    notes: tuple[str, ...]
    folder: Path
    files: tuple[str, ...]
    network: fx.GraphModule

    def to_json(self) -> dict[str, Any]:
        """As ``compact.json`` keeps it."""
        content = {name: getattr(self, name) for name in ("study", "arm", "seed")}
        costs_ = {name: _costs(getattr(self, name)) for name in ("before", "after")}
        report = asdict(self.report)
        return {
            **content,
            **costs_,
            "predictions": {"split": self.split, **asdict(self.predictions)},
            "layers": list(report["widths"]),
            "held": list(report["held"]),
            "unfolded": [{"layer": layer, "reason": reason} for layer, reason in self.report.unfolded],
            "sparse": None if self.sparse is None else asdict(self.sparse),
            "onnx_largest_difference": self.onnx_difference,
            "notes": list(self.notes),
            "files": list(self.files),
        }


def _costs(one: Costs) -> dict[str, Any]:
    return {**asdict(one), "milliseconds": {str(batch): ms for batch, ms in one.milliseconds.items()}}


def compact_run(
    directory: Path,
    arm: str,
    seed: int,
    *,
    data_root: Path,
    out: Path | None = None,
    fold_batch_norm: bool = False,
) -> Compacted:
    """Compacts one run, checks its predictions on the test split, measures it, and writes ``compact/ARM/seed-N/``.

    The test split was opened once, after training; here it is read again to compare two networks, and nothing is chosen
    by it. Under protocol ``closed`` these are the validation images. Nothing else in the run directory is touched.
    Raises `UserError` where the run is not there, diverged or left no weights, where data or network are no longer
    those of the study, where the network cannot be followed, and where a prediction would change.
    """
    study = _study(directory, arm, seed)
    weights = _weights(directory, arm, seed)
    with process_settings():
        setup = set_up(study, data_root, "cpu")
        identity.refuse_changes(directory, setup, identity.findings(setup))
        network = _network(setup, arm, seed, weights)
        images, labels = _test_images(setup)
        smaller, report = compact(network, images[:16], fold_batch_norm=fold_batch_norm)
        recorded = read_predictions(directory, arm, seed)
        predictions = same_predictions(network, smaller, images, labels, recorded)
        before, after = costs((network, smaller), images[:256])
        left = sparse(smaller)
        about = _about(setup, arm, seed)
        files, onnx_difference, notes = _files(smaller, about, images)
    if report.parameters[0] == report.parameters[1] and not fold_batch_norm:
        held = sum(one.channels for one in report.held)
        notes.insert(0, HELD.format(held) if held else WITHOUT_ZEROS)
    folder = out if out is not None else directory / FOLDER / file_name(arm) / f"seed-{seed}"
    split = "validation" if study.protocol.kind == "closed" else "test"
    numbers = (report, before, after, predictions, left, split, onnx_difference)
    found = Compacted(study.name, arm, seed, *numbers, tuple(notes), folder, (*files, NUMBERS), smaller)
    if out is None:
        check_folder(directory, folder / NUMBERS)  # a stranger's directory may hold links
    for name, content in {**files, NUMBERS: json_bytes(found.to_json())}.items():
        write_inside(folder, name, content)
    return found


def _study(directory: Path, arm: str, seed: int) -> Study:
    """The study of a directory, with paths as seen from here; refuses a run that is not there or diverged."""
    if not directory.is_dir():
        raise UserError("no such run directory", where=str(directory))
    recorded = read_study(directory)
    if arm not in recorded.arms:
        raise UserError(
            "no such arm",
            got=arm,
            expected=f"one of {', '.join(recorded.arms)}",
            where="--arm",
            cure=did_you_mean(arm, recorded.arms),
        )
    if seed not in recorded.seeds:
        shown = ", ".join(str(one) for one in recorded.seeds[:20])
        raise UserError("no such seed", got=seed, expected=f"one of {shown}", where="--seed")
    rows = {(row.arm, row.seed): row for row in readable_results(directory, recorded)}
    if (arm, seed) not in rows:
        raise UserError(
            f"{arm} with seed {seed} has not been trained to its end",
            expected=f"`regulab run {directory / STUDY}` first",
            where=str(directory),
        )
    if rows[arm, seed].status == DIVERGED:
        raise UserError(
            f"{arm} with seed {seed} diverged and left no weights",
            expected="a run that completed",
            where=str(directory),
        )
    return load_study(str(directory / STUDY))


def _weights(directory: Path, arm: str, seed: int) -> Mapping[str, Any]:
    weights = read_weights(directory, arm, seed, read_checksums(directory))
    if weights is None:
        raise UserError(
            "the weights of this run are not here",
            expected=f"a run directory with its weights: `regulab run {directory / STUDY} --out DIR` trains it again, "
            "and keeps them (a copy under version control often leaves them out)",
            where=str(weights_path(directory, arm, seed)),
        )
    return weights


def _network(setup: Setup, arm: str, seed: int, weights: Mapping[str, Any]) -> nn.Module:
    """The network of a run with the weights that were tested: averaged ones where the arm averages."""
    network = setup.module(setup.run(arm, seed)).cpu()
    state = {name: torch.from_numpy(array) for name, array in weights.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(
            "the weights do not fit the network of this study",
            got=" ".join(str(error).split())[:300],
            where=f"{arm}, seed {seed}",
        ) from error
    return network.eval()


def _test_images(setup: Setup) -> tuple[Tensor, Tensor]:
    """As the network sees them, ``(N, C, H, W)``, and their labels."""
    found = ImageTensors.of(setup.splits.open_test(), torch.device("cpu"))
    preprocessing = setup.preprocessing.to(torch.device("cpu"))
    pixels = found.part(0, len(found))
    x = preprocessing.normalize(preprocessing.to_unit(pixels)).to(setup.machine.parameters)
    return x, found.labels


def _about(setup: Setup, arm: str, seed: int) -> About:
    height, width, channels = setup.images.shape
    preprocessing = setup.preprocessing.to(torch.device("cpu"))
    return About(
        f"{setup.study.model.name} of the study {setup.study.name}, arm {arm}, seed {seed}, compacted",
        setup.splits.class_names,
        (height, width, channels),
        preprocessing.mean,
        preprocessing.deviation,
    )


def _files(
    smaller: fx.GraphModule, about: About, images: Tensor
) -> tuple[dict[str, bytes], float | None, list[str]]:
    """The files' contents, each read back and checked before anything is written; what could not be made is noted."""
    files = {WEIGHTS: save(tensors(smaller, about))}
    notes, difference = [], None
    try:
        source = module_source(smaller, about)
        _refuse_other_module(source, smaller, about, images[:256])
        files[MODULE] = source.encode()
    except UserError as error:
        notes.append(f"no {MODULE}: {error}")
    lacking = missing()
    if lacking:
        notes.append(f"no {ONNX}: {', '.join(lacking)} not installed (pip install 'regulab[onnx]')")
    else:
        try:
            files[ONNX], difference = onnx_bytes(smaller, images)
        except UserError as error:
            notes.append(f"no {ONNX}: {error}")
    return files, difference, notes


def _refuse_other_module(source: str, smaller: fx.GraphModule, about: About, images: Tensor) -> None:
    module = ModuleType("model")
    module.__file__ = MODULE
    exec(compile(source, MODULE, "exec"), module.__dict__)
    network = module.Network()
    network.load_state_dict(tensors(smaller, about))
    if not torch.equal(logits(network.eval(), images), logits(smaller, images)):
        raise UserError("the file would give other logits", where=MODULE)
