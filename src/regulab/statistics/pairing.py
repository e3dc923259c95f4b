"""Evidence that runs of one seed started alike and saw their images in the same order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from regulab.records import Result


def pairing(results: Sequence[Result]) -> dict[str, bool]:
    """Whether every comparable pair of arms agrees, per kind of evidence.

    Initial weights compare within a seed. Orders compare within a seed and a number of epochs: the hash
    covers the epochs that a run trained. False as well where there is nothing to compare.
    """
    return {
        "initial_weights": _agree((str(r.seed), r.initial_weights_hash) for r in results),
        "data_order": _agree((f"{r.seed}/{r.epochs}", r.data_order_hash) for r in results),
    }


def _agree(keyed_hashes: Iterable[tuple[str, str]]) -> bool:
    groups: dict[str, list[str]] = {}
    for key, value in keyed_hashes:
        groups.setdefault(key, []).append(value)
    compared = [group for group in groups.values() if len(group) > 1]
    return bool(compared) and all(group[0] and len(set(group)) == 1 for group in compared)
