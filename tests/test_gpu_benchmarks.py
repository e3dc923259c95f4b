"""The scripts for a GPU count right, and run as far as a processor goes."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import gpu_bytes
import gpu_step
import gpu_study

from regulab import study
from regulab.training.kernels.gpu_tiles import Tiles, tiles, using


def test_bytes_are_those_of_the_maps():
    """Two runs by hand: the second block has 14·14 places; the pass that normalizes reads two bytes, writes two."""
    places = 128 * 16 * 2 * (14 * 14 * 2 + 7 * 7 * 3)
    found = gpu_bytes.totals(runs=2, arms=2)
    assert found["normalize"] == pytest.approx((places, 4 * places, 4.125 * places))
    unpooled = 128 * 16 * 2 * (14 * 14 + 7 * 7 * 2)
    pooled = 128 * 16 * 2 * (14 * 14 + 7 * 7)
    assert found["statistics"] == (places, 2 * places, 2 * unpooled)
    assert found["map_gradient"][1] == unpooled * 6 + 128 * 16 * 2 * 7 * 7 * (4 + 8 + 1)
    assert found["pool"][1] == 128 * 16 * 2 * 7 * 7 * 11
    assert pooled + unpooled == places
    first = 128 * 16 * 2 * 14 * 14
    assert found["taps_gradient"] == pytest.approx((first, first * 5.5, first * (5.25 + 0.125)))


def test_the_table_adds_up_and_arms_share_images():
    lines = gpu_bytes.table(128, 4, None).splitlines()
    before, now = (sum(int(line.split()[k].replace(",", "")) for line in lines[2:-1]) for k in (1, 2))
    assert abs(int(lines[-1].split()[1].replace(",", "")) - before) <= 8
    assert abs(int(lines[-1].split()[2].replace(",", "")) - now) <= 8
    assert gpu_bytes.totals(128, 4)["convolve"][2] < gpu_bytes.totals(128, 1)["convolve"][2]


def test_every_size_that_is_swept_is_one_of_the_table():
    for name, sizes in gpu_step.SWEPT.items():
        assert getattr(Tiles(), name) not in sizes
        assert all(size & (size - 1) == 0 for size in sizes)
    assert set(gpu_step.SWEPT) == set(vars(Tiles()))
    with using(Tiles(strip=4)):
        assert tiles().strip == 4


def test_a_phase_has_no_part_in_the_time_of_the_one_around_it():
    phases = gpu_study.Phases()
    inner = phases.timed("inner", lambda: time.sleep(0.05))
    with phases.phase("outer"):
        inner()
        inner()
    assert phases.seconds["inner"] >= 0.1
    assert phases.seconds["outer"] < 0.05


def test_a_whole_study_is_timed_by_phase(tmp_path, monkeypatch):
    given = {"study": "l1-l2", "seeds": 1, "epochs": 1, "precision": "fp32", "device": "cpu"}
    options = argparse.Namespace(**given)
    monkeypatch.setattr(study, "write_report", lambda *_: time.sleep(0.01))
    found = gpu_study.phases_of(lambda: gpu_study.studied(options, tmp_path / "study"))
    assert set(found) == {name for name, *_ in gpu_study.PHASES} | {"other"}
    assert all(seconds >= 0 for seconds in found.values())
    text = gpu_study.page(found, options)
    assert "| test |" in text
    assert "| all, of 90 |" in text
