"""The one exception for a person's mistakes, in a command, a study file or a dataset, and how messages show values."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable

from regulab.unseen import escaped, unseen

LONGEST_VALUE, LONGEST_TEXT = 200, 1000  # characters of what was got, and of any other part of a message
MOST_DIGITS = 40


class UserError(Exception):
    """Wrong input from a person. The command line prints it as one message and exits with 2.

    ``got`` and ``expected`` say what was found and what would have been right, ``where`` names
    the file and the key, ``cure`` what to do. The message is one line without control characters, and long
    values are cut in it. Errors of the program itself are assertions, never this.
    """

    def __init__(
        self, problem: str, *, got: object = None, expected: str = "", where: str = "", cure: str = ""
    ) -> None:
        self.problem, self.got, self.expected, self.where, self.cure = problem, got, expected, where, cure
        parts = [f"{printable(where)}: {printable(problem)}" if where else printable(problem)]
        if got is not None:
            parts.append(f"got {shown(got)}")
        if expected:
            parts.append(f"expected {printable(expected)}")
        if cure:
            parts.append(printable(cure))
        super().__init__("; ".join(parts))


def printable(text: str, longest: int = LONGEST_TEXT) -> str:
    """One line that moves no cursor and hides nothing: unseen characters as escapes, the end cut off if it is long."""
    line = re.sub(r"\s*[\r\n]\s*", " ", text[: longest + 1])
    line = escaped(line)
    return line if len(text) <= longest else f"{line[:longest]}… ({len(text)} characters)"


def shown(value: object) -> str:
    """A value of any kind and size in some two hundred characters at most: texts in quotes, containers in part."""
    if isinstance(value, str):
        more = f"… ({len(value)} characters)" if len(value) > LONGEST_VALUE else ""
        return f"{value[:LONGEST_VALUE]!r}{more}"
    if isinstance(value, int | list | tuple | dict | set | frozenset):
        return printable(_SHORT.repr(value), LONGEST_VALUE)
    return printable(str(value), LONGEST_VALUE)


class _Short(reprlib.Repr):
    """`repr` that visits a bounded part of a value, however deep it is, or however often it holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxtuple, self.maxdict = 3, 12, 12, 6
        self.maxstring = self.maxother = LONGEST_VALUE

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write more than 4,300 digits; nobody reads more than forty."""
        digits = int(x.bit_length() * 0.30103) + 1
        return repr(x) if digits <= MOST_DIGITS else f"an integer of about {digits} digits"


_SHORT = _Short()


def unseen_characters(text: str) -> str:
    """The characters of a text that a reader does not see or that reorder what is read, escaped; empty: there are none.

    Control characters, surrogates, line separators, and format characters (right-to-left override, zero-width space).
    """
    return " ".join(dict.fromkeys(escaped(character) for character in text if unseen(character)))


def did_you_mean(got: object, options: Iterable[str]) -> str:
    """``did you mean epochs?`` where something close was meant, else an empty text."""
    if not isinstance(got, str) or len(got) > 100:
        return ""
    known = {option.lower(): option for option in options}
    close = difflib.get_close_matches(got.lower(), list(known), n=1)
    return f"did you mean {known[close[0]]}?" if close else ""
