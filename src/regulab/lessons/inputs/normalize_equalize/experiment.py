"""Normalization is not equalization: one picture, its levels, and what each does to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.datasets import load_sample_image

from regulab.data.histograms import (
    Levels,
    equalize,
    equalize_adaptively,
    hue,
    luminance,
    normalize,
    with_luminance,
)
from regulab.data.picture import load_picture
from regulab.errors import UserError
from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Measured, Number, Table, Values

KEYS = {"normalized": "normalized", "equalized": "equalized", "contrast-limited": "clahe"}


@dataclass(frozen=True)
class PictureVersions:
    """The versions of the grey picture and of the colour one, by name, the untouched first; what a hue turned by."""

    grey: Mapping[str, Levels]
    colour: Mapping[str, Levels]
    turned: Mapping[str, tuple[Levels, Levels]]  # degrees, ascending, and the share of chroma at or below


GREY, COLOUR = "china.jpg", "flower.jpg"
DARKEST, BRIGHTEST = 70, 160  # of 255: what is left of the photograph's contrast
CLIP, TILES = 3.0, 8
BINS = 64  # fewer than the levels that occur: empty bins between them would tighten the limit
KEPT = 1e-6  # what rounding in float64 may change, generously
QUADRUPLES = 20_000
COLOURED = 0.02  # chroma under which a hue is noise


def versions(x: Levels) -> dict[str, Levels]:
    """A grey picture ``(H, W)`` and what becomes of it."""
    return {
        "original": x,
        "normalized": normalize(x),
        "equalized": equalize(x),
        "contrast-limited": equalize_adaptively(x, TILES, CLIP, BINS),
    }


def colour_versions(x: Levels) -> dict[str, Levels]:
    """A colour picture ``(H, W, 3)`` and what becomes of it; equalized by luminance or channel by channel.

    The luminance is that of the normalized picture, whose colours have their full strength.
    """
    stretched = normalize(x)
    y = luminance(stretched)
    return {
        "original": x,
        "normalized": stretched,
        "equalized, luminance": with_luminance(stretched, equalize(y)),
        "contrast-limited, luminance": with_luminance(stretched, equalize_adaptively(y, TILES, CLIP, BINS)),
        "equalized, each channel": np.stack([equalize(x[..., c]) for c in range(3)], -1),
    }


def ratio_changes(before: Levels, after: Levels, generator: np.random.Generator) -> Levels:
    """By how much of itself the ratio |a − b|/|c − d| changes, ascending, for random pixels a, b, c, d.

    A ratio that doubles and one that halves both change by 1. Only pixels with a ≠ b and c ≠ d before count; where a
    difference vanishes after, the change is infinite.
    """
    a, b, c, d = generator.integers(0, before.size, (4, QUADRUPLES))
    seen = (before.flat[a] != before.flat[b]) & (before.flat[c] != before.flat[d])
    (first, second), (first_after, second_after) = (
        (np.abs(x.flat[a] - x.flat[b])[seen], np.abs(x.flat[c] - x.flat[d])[seen]) for x in (before, after)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = (first_after / second_after) / (first / second)
        factor = np.nan_to_num(np.maximum(factor, 1 / factor), nan=np.inf, posinf=np.inf)
    return np.sort(factor) - 1


def moved(before: Levels, after: Levels) -> float:
    """The largest change of a pixel's relative level (v − min)/(max − min)."""
    return float(np.abs(normalize(after) - normalize(before)).max())


def correlation(before: Levels, after: Levels, ranks: bool = False) -> float:
    """Pearson's correlation of the levels, or of their ranks (Spearman's)."""
    x, y = (rankdata(z) if ranks else z.ravel() for z in (before, after))
    return float(np.corrcoef(x, y)[0, 1])


def unevenness(x: Levels) -> float:
    """The largest distance of the cumulative curve F from that of evenly spread levels: max |F(v) − v|."""
    levels, counts = np.unique(x, return_counts=True)
    share = counts.cumsum() / x.size
    return float(np.maximum(np.abs(share - levels), np.abs(share - counts / x.size - levels)).max())


def hue_change(before: Levels, after: Levels) -> tuple[Levels, Levels]:
    """By how many degrees hues turned, ascending, and the share of chroma at or below each.

    A pixel counts by the lesser of its chromas; where that is nearly 0 it has no hue, and counts for nothing.
    """
    (hue_before, chroma_before), (hue_after, chroma_after) = hue(before), hue(after)
    weight = np.minimum(chroma_before, chroma_after).ravel()
    degrees = np.abs((hue_after - hue_before + 180) % 360 - 180).ravel()
    seen = np.flatnonzero(weight >= COLOURED)
    order = seen[np.argsort(degrees[seen])]
    return degrees[order], weight[order].cumsum() / weight[order].sum()


def measure(laboratory: Laboratory) -> Measured:
    grey, colour, words = _pictures(laboratory)
    shown, coloured = versions(grey), colour_versions(colour)
    turned = {name: hue_change(colour, x) for name, x in list(coloured.items())[1:]}
    numbers: dict[str, Number] = {}
    for name, key in KEYS.items():
        numbers |= _grey_numbers(name, key, grey, shown[name])
    fullest = np.unique(grey, return_counts=True)[1].max() / grey.size
    numbers["fullest"] = Number(value=100 * float(fullest), label="pixels on the fullest level", unit="%")
    for key, name in (("luminance", "equalized, luminance"), ("channels", "equalized, each channel")):
        degrees, share = turned[name]
        numbers[f"hue_{key}"] = Number(
            value=float((degrees * np.diff(share, prepend=0)).sum()),
            label=f"{name}: mean turn of the hue, weighted by chroma",
            unit="°",
        )
    return Measured(
        numbers=numbers,
        evidence=PictureVersions(shown, coloured, turned),
        conditions=words,
        findings=_findings({key: number.value for key, number in numbers.items()}),
        tables=[_table(shown)],
    )


def _grey_numbers(name: str, key: str, before: Levels, after: Levels) -> dict[str, Number]:
    changes = ratio_changes(before, after, np.random.default_rng(0))
    linear, ranks = correlation(before, after), correlation(before, after, ranks=True)
    return {
        f"ratio_{key}": Number(
            value=100 * float(np.median(changes)),
            label=f"{name}: half of the ratios of differences change by at least",
            unit="%",
        ),
        f"ratio_most_{key}": Number(
            value=100 * float(np.quantile(changes, 0.99)),
            label=f"{name}: 99 in 100 ratios of differences change by no more than",
            unit="%",
        ),
        f"linear_{key}": Number(
            value=linear, label=f"{name}: linear correlation with the original", digits=4
        ),
        f"rank_{key}": Number(value=ranks, label=f"{name}: rank correlation with the original", digits=4),
        f"moved_{key}": Number(
            value=100 * moved(before, after),
            label=f"{name}: largest change of a relative level",
            unit="% of the range",
        ),
        f"uneven_{key}": Number(
            value=100 * unevenness(after),
            label=f"{name}: largest distance of the cumulative curve from even",
            unit="%",
        ),
    }


def _pictures(laboratory: Laboratory) -> tuple[Levels, Levels, str]:
    """The grey picture, the colour one, and a sentence about both."""
    flat = f"levels compressed to {DARKEST}–{BRIGHTEST} of 255 beforehand, to have something to normalize"
    clahe = f"CLAHE with {TILES} × {TILES} tiles, {BINS} bins and a limit of {CLIP:g}."
    if laboratory.image is None:
        grey, colour = luminance(load_sample_image(GREY) / 255), load_sample_image(COLOUR) / 255
        words = f"The photographs {GREY} (its luminance) and {COLOUR} that scikit-learn carries, with {flat}."
        return _compressed(grey), _compressed(colour), f"{words} {clahe}"
    picture = load_picture(laboratory.image)
    x = picture.levels
    if np.ptp(luminance(x)) < 1e-6:
        raise UserError(
            "every pixel of the picture has the same level, and (v − min)/(max − min) is 0/0",
            got=f"{x.shape[1]} × {x.shape[0]} pixels of level {luminance(x).mean():.3g}",
            expected="a picture of two levels or more",
            where=str(laboratory.image),
        )
    notes = "".join(f"; {note}" for note in picture.notes)
    size = f"{x.shape[1]:,} × {x.shape[0]:,} pixels, {picture.depth} bits a level"
    words = f"{laboratory.image.name} as it is ({size}{notes})."
    if x.ndim == 3 and hue(x)[1].max() >= COLOURED:
        return luminance(x), x, f"{words} The first figure shows its luminance. {clahe}"
    colour = _compressed(load_sample_image(COLOUR) / 255)
    return (
        luminance(x),
        colour,
        f"{words} It is grey; the second figure shows scikit-learn's {COLOUR}, with {flat}. {clahe}",
    )


def _compressed(x: Levels) -> Levels:
    """A picture in [0, 1] with less contrast, stored in whole levels of 255 as a camera would."""
    return np.rint(DARKEST + (BRIGHTEST - DARKEST) * x) / 255


def _findings(values: Values) -> str:
    return (
        "In the bottom row normalization is a straight line: half of the ratios of differences changed by"
        f" {values['ratio_normalized']:.0e} % or more, which is rounding. Equalization changed half of them by"
        f" {values['ratio_equalized']:.0f} % or more, CLAHE by {values['ratio_clahe']:.0f} %. The rank correlation"
        f" with the original is {values['rank_equalized']:.4f} for equalization, whose curve never falls, and"
        f" {values['rank_clahe']:.4f} for CLAHE, where a level also depends on the place. The cumulative curve lies"
        f" up to {values['uneven_normalized']:.0f} % from the dotted line of even levels after normalization and up"
        f" to {values['uneven_equalized']:.1f} % after equalization; the fullest level alone holds"
        f" {values['fullest']:.1f} % of the pixels. In colour, equalizing each channel turned hues by"
        f" {values['hue_channels']:.1f}° on average, equalizing the luminance by {values['hue_luminance']:.1g}°."
    )


def _table(shown: Mapping[str, Levels]) -> Table:
    original = next(iter(shown.values()))
    places = [float(np.quantile(original, q)) for q in (0.0, 0.25, 0.5, 0.75, 1.0)]
    levels = [float(original.flat[np.abs(original - place).argmin()]) for place in places]
    return Table(
        title="Where five levels of the grey picture go: its darkest, its quartiles, its brightest",
        columns=["version", "minimum", "first quartile", "median", "third quartile", "maximum"],
        rows=[[name, *(_span(x[original == level]) for level in levels)] for name, x in shown.items()],
    )


def _span(x: Levels) -> str:
    return f"{x.min():.3f}" if np.ptp(x) < KEPT else f"{x.min():.2f} to {x.max():.2f}"
