"""However narrow the terminal, the comparison says mean, difference and verdict of every arm."""

from __future__ import annotations

import io
from functools import cache

import pytest
from rich.console import Console

from regulab.statistics import Comparison, compare
from regulab.terminal.comparison_table import print_comparison
from tests.reporting.factory import make_records


@cache
def compared(arms) -> Comparison:
    return compare(make_records(arms=dict(zip(arms, (0, -0.4, 0.5), strict=False)), seeds=8, images=10_000))


@pytest.mark.parametrize("width", [20, 40, 50, 60, 80, 200])
@pytest.mark.parametrize("arms", [("none", "l1", "l1+l2"), ("none", "l1 " + "long" * 20)])
def test_nothing_is_cut_off(width, arms):
    console = Console(file=(written := io.StringIO()), width=width, force_terminal=True, color_system=None)
    comparison = compared(arms)
    print_comparison(comparison.to_json(), console)
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(written.getvalue().split())
    assert "…" not in text.replace(" … ", " ")
    for arm, one in comparison.arms.items():
        assert f"{one.mean:.2f}" in text
        if arm != "none":
            assert f"{one.difference:+.2f}" in text
            assert one.verdict in text


def test_at_forty_columns_every_number_has_its_name():
    console = Console(file=(written := io.StringIO()), width=40, force_terminal=True, color_system=None)
    one = compared(("none", "l1"))
    print_comparison(one.to_json(), console)
    lines = [line.rstrip() for line in written.getvalue().splitlines()]
    place = lines.index(f"arm “l1”: {one.arms['l1'].verdict}")
    assert lines[place + 1] == f"  mean: {one.arms['l1'].mean:.2f}"
    assert f"  − “none”: {one.arms['l1'].difference:+.2f}" in lines[place : place + 6]
    assert "arm “none”: baseline" in lines
