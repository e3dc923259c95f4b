"""A study in a process of its own, for `test_resume` to kill: killed_study.py STUDY.yaml DIRECTORY LOG.

Appends a line to LOG for each sign of life: an epoch's training begins (``train``), a fleet is about to be
tested (``tested``), all training is over (``report``).
"""

import json
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import regulab.study
from regulab.config import build_study, parse_yaml
from regulab.evaluation.testing import Tested, test
from regulab.reporting import write_report
from regulab.training import planning
from regulab.training.fleet import Fleet
from regulab.training.trainer import EpochTotals

study_file, directory, log = map(Path, sys.argv[1:])


def tell(stage: str, **more: object) -> None:
    with log.open("a") as file:
        file.write(json.dumps({"stage": stage, "time": time.time(), **more}) + "\n")


train = Fleet.train_epoch


def train_and_tell(fleet: Fleet, epoch: int, *rest: Any) -> EpochTotals:
    tell("train", seeds=str(sorted({run.seed for run in fleet.runs})), epoch=epoch)
    return train(fleet, epoch, *rest)


def test_and_tell(*arguments: Any) -> list[Tested]:
    tell("tested")
    return test(*arguments)


def write_report_and_tell(*arguments: Any) -> list[Path]:
    tell("report")
    return write_report(*arguments)


planning.PIXELS_PER_STEP = 1  # a fleet for every seed
with (
    patch.object(Fleet, "train_epoch", train_and_tell),
    patch("regulab.launchers.events.test", test_and_tell),
    patch("regulab.study.write_report", write_report_and_tell),
):
    regulab.study.run(build_study(parse_yaml(study_file.read_text(), "")), directory, data_root=directory)
