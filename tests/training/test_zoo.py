"""Networks as people write them train as fleets, unchanged, and equal the plain loops."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import networks
import own_networks
from zoo import COURSE, ZOO

PLAIN = {  # and what the reason names
    "numbers decide": r"awkward.py, line \d+ \(`if x.max\(\) > 20:`\)",
    "skips at random": "it draws from the generator of random",
    "counts its passes": "it changes attributes of its own: passes",
}
VMAPPED = {
    "stochastic depth": r"it draws from the generator of torch \(\w+.py, line \d+\)",
    "hooks": r"layer conv \(Conv2d\) has hooks",
    "noisy input": r"it draws from the generator of torch \(\w+.py, line \d+\)",
}
SIDE_BY_SIDE = {
    *("two blocks", "residual", "bottleneck", "grouped bottleneck", "pre-activated", "squeeze and excite"),
    *("highway", "inverted residual", "depthwise separable", "all convolutional", "dilated, reflected"),
    *("learned slopes", "convolutions over rows", "self-normalizing", "tied weights"),
}


@pytest.mark.parametrize("name", [name for name in ZOO if name not in {**PLAIN, **VMAPPED}])
def test_a_fleet_takes_the_network_as_it_is_and_equals_the_plain_loops(name: str) -> None:
    outcome = networks.outcome(name, networks.FLOAT64)
    assert outcome.engine == ("fleet" if name in SIDE_BY_SIDE else "followed")
    assert outcome.deviation is not None
    assert outcome.deviation < 1e-11


@pytest.mark.parametrize("name", VMAPPED)
def test_what_no_rule_does_vmap_does_and_equals_the_plain_loops(name: str) -> None:
    outcome = networks.outcome(name, networks.FLOAT64)
    assert outcome.engine == "vmap"
    assert re.search(VMAPPED[name], outcome.reason)
    assert outcome.deviation is not None
    assert outcome.deviation < 1e-11


@pytest.mark.parametrize("name", PLAIN)
def test_what_no_fleet_can_do_is_left_to_the_plain_loop_with_the_reason(name: str) -> None:
    outcome = networks.outcome(name, networks.FLOAT32)
    assert outcome.engine == "plain"
    assert re.search(PLAIN[name], outcome.reason)


def test_the_networks_of_courses_are_all_fleets() -> None:
    assert len(COURSE) >= 11
    assert not COURSE.keys() & PLAIN.keys()


def test_the_measurement_of_speed_gives_a_row_of_times_and_ratios() -> None:
    case = own_networks.Case(f"{own_networks.FULL_SIZE}:Example", (1, 28, 28))
    rows = own_networks.measured(case, ["fp32", "bf16"], runs=2, rounds=1)
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:3] for row in cells] == [
        ["Example, 1×28×28", "fp32", "followed"],
        ["Example, 1×28×28", "bf16", "followed"],
    ]
    for row in cells:
        hand, plain, fleet, by_hand, by_plain, by_float32 = map(float, row[3:])
        assert by_hand == pytest.approx(hand / fleet, rel=0.1)
        assert by_plain == pytest.approx(plain / fleet, rel=0.1)
        assert by_float32 == pytest.approx(float(cells[0][3]) / fleet, rel=0.1)
