"""What arms and classes are called: quoted in sentences, and numbered in pictures where no font has the glyphs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from regulab.records import StudyRecords
from regulab.reporting.fonts import drawable
from regulab.statistics.question import strengths
from regulab.wording import NAME_LIMIT, one_line, quoted

LEGEND_LIMIT = 200
LISTED = 60  # names in the sentence that explains numbers in pictures


def legend(records: StudyRecords, arm: str) -> str:
    """The arm with its strengths, for cells under a heading that says ``arm``: ``none (only dropout 0.05)``."""
    return one_line(records.legends.get(arm, arm), LEGEND_LIMIT)


def quoted_legend(records: StudyRecords, arm: str) -> str:
    """The same for sentences and headings: ``“none” (only dropout 0.05)``."""
    return f"{quoted(arm)} {one_line(strengths(records, arm), LEGEND_LIMIT)}".rstrip()


def heading(records: StudyRecords, arm: str) -> str:
    """``Arm “none” (only dropout 0.05)``."""
    return f"Arm {quoted_legend(records, arm)}"


def class_names(records: StudyRecords) -> tuple[str, ...]:
    """Class names as pages print them: visible, on one line, not too long."""
    return tuple(one_line(name, NAME_LIMIT) for name in records.class_names)


class PictureNames:
    """Names as pictures show them: themselves, or where no installed font has the glyphs, their number."""

    def __init__(self, records: StudyRecords) -> None:
        self.records = records

    @cached_property
    def _missing_classes(self) -> frozenset[int]:
        return frozenset(k for k, name in enumerate(self.records.class_names) if not drawable(one_line(name)))

    @cached_property
    def _missing_arms(self) -> frozenset[str]:
        return frozenset(
            arm for arm in self.records.arms if not drawable(one_line(arm) + strengths(self.records, arm))
        )

    def of_class(self, number: int) -> str:
        return (
            f"class {number}"
            if number in self._missing_classes
            else one_line(self.records.class_names[number])
        )

    def of_arm(self, arm: str) -> str:
        """The arm's name alone."""
        return self._number(arm) if arm in self._missing_arms else one_line(arm)

    def of_legend(self, arm: str) -> str:
        """The arm with its strengths."""
        if arm not in self._missing_arms:
            return one_line(self.records.legends.get(arm, arm))
        said = strengths(self.records, arm)
        return f"{self._number(arm)} {said}".rstrip() if drawable(said) else self._number(arm)

    def text(self, text: str) -> str:
        """Any other text, such as a dataset's name: characters that cannot be drawn as their numbers."""
        line = one_line(text)
        return line if drawable(line) else "".join(c if drawable(c) else f"[U+{ord(c):04X}]" for c in line)

    @property
    def of_arms(self) -> str:
        """What the numbers of arms in pictures stand for; empty where every name can be drawn."""
        return _no_font(self._arms())

    @property
    def of_all(self) -> str:
        """The same for arms and classes."""
        names = self.records.class_names
        return _no_font(
            self._arms() + [f"class {k} is {quoted(names[k])}" for k in sorted(self._missing_classes)]
        )

    def _arms(self) -> list[str]:
        missing = [arm for arm in self.records.arms if arm in self._missing_arms]
        return [f"{self._number(arm)} is {quoted(arm)}" for arm in missing]

    def _number(self, arm: str) -> str:
        return f"arm {self.records.arms.index(arm) + 1}"


def _no_font(names: Sequence[str]) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return (
        "No font on this machine has the glyphs of some names, so they stand in the pictures as numbers: "
        f"{', '.join(names[:LISTED])}{rest}."
    )
