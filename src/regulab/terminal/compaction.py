"""What a smaller network saves, as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from regulab.wording import NAME_LIMIT, one_line, visible

BY_ROUNDING = (
    0.02  # of the images: what another order of sums makes of a network that hardly tells its classes apart
)


def print_compaction(found: Mapping[str, Any], folder: str, console: Console) -> None:
    """``found`` is the mapping that ``compact.json`` holds."""
    title = f"{found['study']}: {found['arm']}, seed {found['seed']}"
    table = Table(title=one_line(title, NAME_LIMIT), box=box.SIMPLE_HEAD)
    for column in ("", "before", "after", "left"):
        table.add_column(column, justify="left" if not column else "right")
    for row in _rows(found["before"], found["after"]):
        table.add_row(*row)
    console.print(table)
    for line in compaction_lines(found):
        console.print(visible(line), markup=False, soft_wrap=True)
    console.print(f"in {folder}: {', '.join(found['files'])}", markup=False, soft_wrap=True)


def _rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        (name, f"{before[key]:,}", f"{after[key]:,}", f"{100 * after[key] / before[key]:.0f} %")
        for name, key in (
            ("parameters", "parameters"),
            ("multiply-adds an image", "multiply_adds"),
            ("bytes of the weights", "bytes"),
        )
        if before[key]
    ]
    for batch, was in before["milliseconds"].items():
        now = after["milliseconds"][batch]
        words = f"ms for {batch} image{'s' if batch != '1' else ''}"
        rows.append((words, f"{was:.3g}", f"{now:.3g}", f"{100 * now / was:.0f} %"))
    return rows


def compaction_lines(found: Mapping[str, Any]) -> list[str]:
    """Which layers shrank, what stays and why, the predictions, what zeros are left, and what should be known."""
    layers = [
        f"{one['layer']} {one['before']} → {one['after']}"
        for one in found["layers"]
        if one["before"] != one["after"]
    ]
    lines = [f"outputs of layers: {', '.join(layers)}"] if layers else []
    lines += [
        f"stays because of {one['layer']}: {one['reason']}{_constant(one['channels'])}"
        for one in found["held"]
    ]
    lines += [f"not folded: {one['layer']}: {one['reason']}" for one in found["unfolded"]]
    lines.append(_predictions(found["predictions"]))
    if found["sparse"] is not None:
        lines.append(_sparse(found["sparse"]))
    if found["onnx_largest_difference"] is not None:
        lines.append(
            f"ONNX: onnxruntime's logits differ from torch's by {found['onnx_largest_difference']:.2g} at most"
        )
    return lines + list(found["notes"])


def _constant(count: int) -> str:
    return f" ({count} channel{'s' if count != 1 else ''} there could go otherwise)" if count else ""


def _predictions(found: Mapping[str, Any]) -> str:
    same = found["images"] - found["different"]
    text = (
        f"{found['split']} split, read again for this check: the same class for {same:,} of {found['images']:,} "
        f"images, logits at most {found['largest_difference']:.2g} apart, accuracy {found['accuracy_before']:.2f} → "
        f"{found['accuracy_after']:.2f} %"
    )
    if found["different"]:
        text += "; the others are ties to rounding"
    if found["as_recorded"] not in (None, found["images"]):
        others = found["images"] - found["as_recorded"]
        few = others <= max(1, BY_ROUNDING * found["images"])
        text += f"; as the study recorded for {found['as_recorded']:,}, " + (
            "whose training rounds otherwise"
            if few
            else f"and for {others:,} not: more than rounding explains. Are these the weights that were tested?"
        )
    return text


def _sparse(found: Mapping[str, Any]) -> str:
    text = (
        f"zeros left among the weights, scattered: {found['zeros']:,} of {found['weights']:,}. Storing the "
        f"others alone: {found['bits']:,} bytes with a bit for each weight, {found['rows']:,} as CSR, "
        f"{found['places']:,} as COO, against {found['dense']:,} dense"
    )
    if found["slowdown"] is not None:
        text += (
            f"; no speed follows: the largest matrix as CSR takes {found['slowdown']:.2g} times as long as dense"
            if found["slowdown"] >= 1
            else f"; the largest matrix as CSR takes {found['slowdown']:.2g} of the dense one's time"
        )
    return text
