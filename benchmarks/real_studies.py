"""Trains many small studies whose truth is known, and keeps how many test images every run got right.

A study has a baseline, three twins that are the same in everything but their name, and one arm with more dropout, over
``SEEDS`` seeds. Whatever differs between the baseline and a twin is luck. Half of the studies are unpaired (``pairing:
none``: weights, orders and dropout of their own). The other half is paired as regulab pairs arms, but for dropout,
whose draws are each arm's own: identical arms with the same draws would give the same network, and every difference
would be 0. So paired twins start from the same weights, see the same images in the same order, and differ by luck.

Digits, three kinds of study (`KINDS`), tested on 1,000 images that no run trains on: the test split and the training
images that are left over. Rules judge these records, see ``aa_studies.py`` and ``how_others_decide.py``; nothing is
trained twice. Stopped at any moment, it goes on when given again; with more ``--rounds`` it adds to what is there.

    python benchmarks/real_studies.py --rounds 5 --out benchmarks/results/real-studies-2026-11-27.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regulab.config import build_study
from regulab.data import data_root, load
from regulab.data.splits import Splits
from regulab.files import write_whole
from regulab.streams import Streams
from regulab.training.batches import ImageTensors
from regulab.training.environment import describe
from regulab.training.fleet import Fleet
from regulab.training.machine import process_settings
from regulab.training.setup import Setup, set_up

SEEDS = 20
TWINS = ("none", "twin 1", "twin 2", "twin 3")  # identical
OTHER = "more dropout"  # not identical: its effect is measured over all studies
ARMS = (*TWINS, OTHER)
TEST_IMAGES = 1_000
PAIRINGS = ("paired", "unpaired")
STUDIES_A_FLEET = 2  # 200 runs: building 500 networks at once takes four times as long
TESTED_AT_ONCE = 120


@dataclass(frozen=True)
class Kind:
    """One kind of study: how much it trains on what, how many of them a round has, and which rounds have them."""

    model: dict[str, Any]
    images: int
    epochs: int
    batch_size: int
    max_lr: float
    more_dropout: float  # of `OTHER`; all else has 0.1
    a_round: int
    every: int = 1  # rounds


KINDS = {
    "small mlp": Kind({"name": "mlp", "depth": 1, "args": {"width": 32}}, 100, 4, 20, 0.3, 0.3, 10),
    "mlp": Kind({"name": "mlp", "depth": 1, "args": {"width": 64}}, 400, 6, 50, 0.5, 0.3, 4),
    "cnn": Kind({"name": "cnn10k"}, 300, 8, 50, 0.1, 0.12, 1, every=4),
}


@dataclass(frozen=True)
class SharedStart(Streams):
    """The streams of a seed, with draws of dropout that are an arm's own."""

    def generator(self, purpose: str, name: str = "", epoch: int = 0) -> np.random.Generator:
        shared = "" if purpose != "dropout" else self.arm
        return Streams(self.study, self.seed, shared).generator(purpose, name, epoch)


class Paired(Setup):
    """A setup whose arms share what `SharedStart` shares."""

    def streams(self, seed: int, arm: str = "") -> Streams:
        return SharedStart(self.study.stream_key, seed, arm)


def setup_of(kind: str, pairing: str) -> tuple[Setup, list[ImageTensors]]:
    """A study of a kind, and the images that it is tested on, in two parts."""
    what = KINDS[kind]
    study = build_study(
        {
            "name": f"real {kind} {pairing}",
            "pairing": "none",
            "seeds": 2,
            "model": what.model | {"dropout": 0.1},
            "train": {
                "epochs": what.epochs,
                "batch_size": what.batch_size,
                "schedule": {"name": "one_cycle", "max_lr": what.max_lr},
            },
            "arms": {arm: {} for arm in TWINS} | {OTHER: {"dropout": what.more_dropout}},
        }
    )
    full = load(study.data, study.protocol, data_root())
    splits = Splits(**{**vars(full), "train": full.train.take(np.arange(what.images))})
    setup = set_up(study, splits)
    if pairing == "paired":
        setup = Paired(**{name: getattr(setup, name) for name in Setup.__dataclass_fields__})
    test = full.open_test()
    left = full.train.take(np.arange(len(full.train) - TEST_IMAGES + len(test.labels), len(full.train)))
    return setup, [ImageTensors.of(part, setup.machine.device) for part in (test, left)]


def train(setup: Setup, test: Sequence[ImageTensors], seeds: Sequence[int]) -> NDArray[np.int64]:
    """Test images that every run gets right after every epoch, ``(seeds, arms, epochs)``; one fleet."""
    fleet, right = Fleet(setup, setup.runs(seeds)), []
    for epoch in range(1, setup.study.train.epochs + 1):
        fleet.train_epoch(epoch)
        right.append(sum(right_in(fleet, setup, part) for part in test))
    return np.stack(right, -1).reshape(len(seeds), len(ARMS), -1)


def right_in(fleet: Fleet, setup: Setup, images: ImageTensors) -> NDArray[np.int64]:
    """Of so many images every run is right, ``(R,)``; in half the time of `evaluate`, which has confidences too."""
    count, preprocessing = torch.zeros(len(fleet.runs), dtype=torch.int64), setup.preprocessing
    with torch.no_grad():
        for start in range(0, len(images), TESTED_AT_ONCE):
            few = slice(start, start + TESTED_AT_ONCE)
            x = preprocessing.normalize(preprocessing.to_unit(images.part(few.start, few.stop)))
            count += (fleet.logits(x).argmax(-1) == images.labels[few, None]).sum(0)
    return count.numpy()


def begun(path: Path, start: int = 0) -> dict[str, Any]:
    """What an earlier command left, or nothing before round ``start``; raises `SystemExit` for other studies."""
    kinds = {name: vars(kind) for name, kind in KINDS.items()}
    fresh = {"kinds": kinds, "arms": list(ARMS), "seeds": SEEDS, "test_images": TEST_IMAGES, "studies": []}
    fresh["rounds"] = start
    if not path.exists():
        return fresh
    found: dict[str, Any] = json.loads(path.read_text())
    if any(found[key] != fresh[key] for key in ("kinds", "arms", "seeds", "test_images")):
        raise SystemExit(f"{path} holds studies of another kind; choose another --out")
    return found


def write(path: Path, content: dict[str, Any]) -> None:
    """JSON with a study a line."""
    rest = json.dumps({name: value for name, value in content.items() if name != "studies"}, indent=1)
    lines = ",\n".join(json.dumps(study, separators=(",", ":")) for study in content["studies"])
    write_whole(path, f'{rest[:-2]},\n "studies": [\n{lines}\n]}}\n'.encode())


def a_round_of(
    kind: str, pairing: str, number: int, setup: Setup, test: Sequence[ImageTensors]
) -> list[dict[str, Any]]:
    """The studies of one kind in the round of this number: test images right by seed and arm."""
    studies, a_round = [], KINDS[kind].a_round
    for first in range(number * a_round, (number + 1) * a_round, STUDIES_A_FLEET):
        last = min(first + STUDIES_A_FLEET, (number + 1) * a_round)
        right = train(setup, test, range(first * SEEDS, last * SEEDS))
        for k, one in enumerate(right.reshape(last - first, SEEDS, len(ARMS), -1)):
            study = {"kind": kind, "pairing": pairing, "number": first + k}
            studies.append(study | {"final": one[..., -1].tolist(), "best_on_test": one.max(-1).tolist()})
    return studies


def run(rounds: int, path: Path, start: int = 0) -> dict[str, Any]:
    """Every round trains some studies of every kind and pairing, and is written whole."""
    content = begun(path, start)
    ready = {(kind, pairing): setup_of(kind, pairing) for kind in KINDS for pairing in PAIRINGS}
    setup = next(iter(ready.values()))[0]
    content["environment"] = describe(setup.machine, setup.splits)
    while (done := content["rounds"]) < rounds:
        began = time.perf_counter()
        for kind, pairing in ready:
            if done % KINDS[kind].every == 0:
                content["studies"] += a_round_of(
                    kind, pairing, done // KINDS[kind].every, *ready[kind, pairing]
                )
        content |= {"date": datetime.date.today().isoformat(), "command": shlex.join(["python", *sys.argv])}
        content["rounds"] = done + 1
        content["seconds"] = content.get("seconds", 0) + time.perf_counter() - began
        write(path, content)
        print(f"round {done + 1} of {rounds}, {time.perf_counter() - began:.1f} s", file=sys.stderr)
    return content


@dataclass(frozen=True)
class Recorded:
    """Test images right of all studies of one kind and pairing, ``(studies, seeds, arms)`` each; arms as in `ARMS`."""

    final: NDArray[np.int64]
    best_on_test: NDArray[np.int64]  # of the epoch that is best on the test images, run by run


def recorded(content: dict[str, Any], pairing: str) -> dict[str, Recorded]:
    """By kind, the studies of a pairing that have been trained."""
    found = {}
    for kind in KINDS:
        own = [one for one in content["studies"] if (one["kind"], one["pairing"]) == (kind, pairing)]
        if own:
            found[kind] = Recorded(
                *(np.array([one[key] for one in own]) for key in ("final", "best_on_test"))
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        help="of 10 + 4 studies and in every fourth one more, paired and unpaired",
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/real-studies.json"))
    parser.add_argument("--start", type=int, default=0, help="the round that a new file begins with")
    arguments = parser.parse_args()
    with process_settings():
        run(arguments.rounds, arguments.out, arguments.start)


if __name__ == "__main__":
    main()
