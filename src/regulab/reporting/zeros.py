"""Why weights are exactly zero, in words, and how many output channels are so as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regulab.records import StudyRecords
from regulab.reporting.weights import WeightCounts
from regulab.wording import named

SHRINKS = "proximal step shrinks a weight whatever its size, and stops at zero."


def why_zeros(techniques: Mapping[str, Any]) -> str:
    """What the penalties of an arm do to single weights and to whole channels; empty, or begins with a space."""
    text = _of_single_weights(techniques)
    if "group_lasso" in techniques:
        text += " Group lasso's proximal step shortens the weights of an output channel together, and stops at zero."
    return text


def _of_single_weights(techniques: Mapping[str, Any]) -> str:
    l1, net = techniques.get("l1"), techniques.get("elastic_net")
    if l1 is not None:
        subgradient = isinstance(l1, Mapping) and l1.get("method") == "subgradient"
        return (
            " L1 by subgradient pulls a weight towards zero whatever its size, and steps over it."
            if subgradient
            else f" L1's {SHRINKS}"
        )
    if net is not None and not (isinstance(net, Mapping) and net.get("ratio") == 0):
        return f" The elastic net's {SHRINKS}"
    if "l2" in techniques or net is not None:
        return " L2 pulls a weight in proportion to its size, which by itself leaves none at zero."
    return ""


def zero_channels(records: StudyRecords, counts: WeightCounts, arm: str, baseline: str) -> str:
    """Output channels of convolutions and linear layers all of whose weights are zero; empty where nobody counted."""
    mine, base = (_share(records, counts, name) for name in (arm, baseline))
    if mine is None:
        return ""
    text = f" Of {mine[1]:,} output channels {mine[0]:.1f} are zero as a whole on average"
    if arm != baseline and base is not None:
        text += f" ({named(baseline)}: {base[0]:.1f})"
    constant = "; such a channel gives its bias, or the β of the norm behind it, whatever the image"
    return text + (constant if mine[0] else "") + "."


def _share(records: StudyRecords, counts: WeightCounts, arm: str) -> tuple[float, int] | None:
    """How many channels are zero on average over the arm's runs, and how many there are."""
    runs = [(arm, result.seed) for result in records.results if result.arm == arm]
    found = [counts[run].channels for run in runs if run in counts]
    known = [channels for channels in found if channels is not None]
    return (sum(zero for zero, _ in known) / len(known), known[0][1]) if known else None
