"""Why weights are exactly zero, in words, and how many output channels are so as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regulab.records import StudyRecords
from regulab.reporting.weights import WeightCounts

SHRINKS = "proximal step shrinks a weight whatever its size, and stops at zero."


def why_zeros(techniques: Mapping[str, Any]) -> list[str]:
    """What the penalties of an arm do to single weights and to whole channels, a sentence each."""
    found = _of_single_weights(techniques)
    if "group_lasso" in techniques:
        found.append(
            "Group lasso's proximal step shortens the weights of an output channel together, and stops at zero."
        )
    return found


def _of_single_weights(techniques: Mapping[str, Any]) -> list[str]:
    l1, net = techniques.get("l1"), techniques.get("elastic_net")
    if l1 is not None:
        subgradient = isinstance(l1, Mapping) and l1.get("method") == "subgradient"
        over = "L1 by subgradient pulls a weight towards zero whatever its size, and steps over it."
        return [over if subgradient else f"L1's {SHRINKS}"]
    if net is not None and not (isinstance(net, Mapping) and net.get("ratio") == 0):
        return [f"The elastic net's {SHRINKS}"]
    if "l2" in techniques or net is not None:
        return ["L2 pulls a weight in proportion to its size, which by itself leaves none at zero."]
    return []


def zero_channels(records: StudyRecords, counts: WeightCounts, arm: str) -> tuple[float, int] | None:
    """How many output channels of convolutions and linear layers are zero as a whole, on average over the arm's runs,
    and how many there are; None where nobody counted."""
    runs = [(arm, result.seed) for result in records.results if result.arm == arm]
    found = [counts[run].channels for run in runs if run in counts]
    known = [channels for channels in found if channels is not None]
    return (sum(zero for zero, _ in known) / len(known), known[0][1]) if known else None
