"""YAML as study files use it: from a text to plain values and the line of each key, within limits; and back.

PyYAML parses and composes. Values are built here, because its constructors raise bare Python errors for what does not
fit, follow aliases of aliases without end, and forget which line a value came from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from regulab.errors import UserError, printable
from regulab.values import LARGEST_INTEGER

LONGEST_TEXT = 1_000_000  # characters: 10,000 seeds take 60,000
MOST_VALUES = 100_000  # with every alias written out
DEEPEST = 40
PREFIX = "tag:yaml.org,2002:"
EXPONENT = re.compile(r"^[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$")
KINDS: dict[
    str, tuple[re.Pattern[str], str]
] = {  # what a text without quotes stands for, and how it may begin
    "bool": (re.compile(r"^(yes|no|true|false|on|off)$", re.IGNORECASE), "yYnNtTfFoO"),
    "int": (
        re.compile(r"^[-+]?([0-9][0-9_]*|0x[0-9a-fA-F][0-9a-fA-F_]*|0[ob][0-7][0-7_]*)$"),
        "-+0123456789",
    ),
    "float": (
        re.compile(
            rf"{EXPONENT.pattern}|^[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|\.inf|\.Inf|\.INF)$|^\.(nan|NaN|NAN)$"
        ),
        "-+0123456789.",
    ),
    "null": (re.compile(r"^(~|null|Null|NULL|)$"), "~nN"),
    "merge": (re.compile(r"^<<$"), "<"),
}


WORDS = {"bool": "switch", "int": "whole number", "float": "number", "null": "null", "merge": "merge key"}


class _Loader(yaml.SafeLoader):
    """Composes nodes. ``5e-4`` is a number; dates, ``1:30`` and ``0x_`` are texts."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own table)
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """PyYAML composes recursively, and must stop before Python's own limit does."""
        self.depth += 1
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {DEEPEST} levels", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes texts that `_Loader` would take for numbers, such as an arm called ``1e-4``."""


for _kind, (_pattern, _first) in KINDS.items():
    _Loader.add_implicit_resolver(PREFIX + _kind, _pattern, [*_first, *([""] if _kind == "null" else [])])
_Dumper.add_implicit_resolver(f"{PREFIX}float", EXPONENT, list("-+0123456789."))


class Document(NamedTuple):
    """What a YAML text says, and for every dotted key its line and, for a single value, its text."""

    value: Any
    lines: dict[str, int]
    texts: dict[str, str]


def parse_yaml(text: str, where: str) -> Any:
    """The value a YAML text holds; raises `UserError` naming ``where`` and the line."""
    return parse_document(text, where).value


def dump_yaml(content: Any) -> str:
    """The YAML text of plain values, which `parse_yaml` and other readers read back."""
    text: str = yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )
    return text


def parse_document(text: str, where: str) -> Document:
    """As `parse_yaml`, with the lines. Merge keys and aliases are followed; every key is a text as it is written.

    Raises `UserError` for what is no YAML, or YAML but no plain values: a key given twice, a tag of another kind, a
    value that holds itself, more than 100,000 values, more than forty levels.
    """
    try:
        if len(text) > LONGEST_TEXT:
            raise UserError(
                "too long", got=f"{len(text)} characters", expected=f"at most {LONGEST_TEXT}", where=where
            )
        node = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        problem = (
            f"not valid YAML: the character U+{ord(text[error.position]):04X}, which YAML does not allow"
        )
        raise UserError(problem, where=f"{where}, line {line}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}" if mark else where
        raise UserError(f"not valid YAML: {getattr(error, 'problem', error)}", where=place) from None
    except (ValueError, OverflowError):  # PyYAML's scanner
        raise UserError(
            "not valid YAML: an escape or a version with too large a number", where=where
        ) from None
    builder = _Builder(where)
    return Document(None if node is None else builder.value(node, ""), builder.lines, builder.texts)


class _Builder:
    """Plain values from nodes. Aliases are written out, so that whatever walks the values later walks them once."""

    def __init__(self, where: str) -> None:
        self.where, self.lines, self.texts = where, dict[str, int](), dict[str, str]()
        self._open: list[Node] = []  # from the root to the present node
        self._count = 0

    def value(self, node: Node, key: str) -> Any:
        self._count += 1
        if self._count > MOST_VALUES:
            raise UserError(f"more than {MOST_VALUES} values, aliases written out", where=self.where)
        if any(node is outer for outer in self._open):
            raise self._error_at(node, "a value that holds itself")
        if len(self._open) >= DEEPEST:
            raise self._error_at(node, f"nested deeper than {DEEPEST} levels, aliases written out")
        self.lines.setdefault(key, node.start_mark.line + 1)
        self._open.append(node)
        found: Any
        if isinstance(node, MappingNode):
            self._require_tag(node, "map")
            found = {name: self.value(inner, _below(key, name)) for name, inner in self._items(node, key)}
        elif isinstance(node, SequenceNode):
            self._require_tag(node, "seq")
            found = [self.value(inner, _below(key, str(place))) for place, inner in enumerate(node.value)]
        else:
            assert isinstance(node, ScalarNode)
            found, self.texts[key] = self._scalar(node), node.value
        self._open.pop()
        return found

    def _items(self, node: MappingNode, key: str) -> Iterator[tuple[str, Node]]:
        """What a mapping merges and does not have itself, then its own items; notes the line of each key."""
        own: dict[str, tuple[Node, Node]] = {}
        for name_node, inner in node.value:
            if not isinstance(name_node, ScalarNode):
                raise self._error_at(name_node, "a key that is no text")
            if name_node.value in own:
                raise self._error_at(name_node, f"{name_node.value!r} is given twice")
            own[name_node.value] = (name_node, inner)
        merging = own.get("<<")
        if merging is not None and merging[0].tag == f"{PREFIX}merge":
            del own["<<"]
            for name, inner in self._merged(merging[1], key).items():
                if name not in own:
                    yield name, inner
        for name, (name_node, inner) in own.items():
            self.lines[_below(key, name)] = name_node.start_mark.line + 1
            yield name, inner

    def _merged(self, node: Node, key: str) -> dict[str, Node]:
        """What ``<<`` brings: a mapping's items, or those of several, of which the first to have a key gives it."""
        many = isinstance(node, SequenceNode)
        found: dict[str, Node] = {}
        for source in node.value if many else [node]:
            self._count += 1
            if not isinstance(source, MappingNode):
                raise self._error_at(
                    source, "<< merges mappings: write `<<: *name`, or `<<: [*first, *second]`"
                )
            if any(source is outer for outer in self._open):
                raise self._error_at(source, "a value that holds itself")
            if self._count > MOST_VALUES or len(self._open) >= DEEPEST:
                raise self._error_at(
                    source, f"more than {MOST_VALUES} values or {DEEPEST} levels, aliases written out"
                )
            self._open.append(source)
            for name, inner in self._items(source, key):
                self._count += 1
                found.setdefault(name, inner)
            self._open.pop()
        return found

    def _scalar(self, node: ScalarNode) -> Any:
        kind = node.tag.removeprefix(PREFIX)
        text = node.value
        if kind in ("str", "merge"):
            return text
        if kind == "null" and (KINDS["null"][0].match(text)):
            return None
        if kind == "bool" and KINDS["bool"][0].match(text):
            return text.lower() in ("yes", "true", "on")
        if kind == "int" and KINDS["int"][0].match(text):
            return self._integer(node, text.replace("_", ""))
        if kind == "float" and (KINDS["float"][0].match(text) or KINDS["int"][0].match(text)):
            return self._float(node, text.replace("_", "").lower())
        if kind in KINDS:
            raise self._error_at(node, f"{printable(text, 50)!r} is no {WORDS[kind]}")
        raise self._foreign(node)

    def _integer(self, node: ScalarNode, digits: str) -> int:
        if len(digits) > 80:
            raise self._error_at(node, f"an integer of {len(digits)} digits", "too large")
        sign, bare = (-1 if digits[0] == "-" else 1), digits.lstrip("+-")
        if bare.startswith("0") and bare.strip("0"):
            bases = {"0x": 16, "0o": 8, "0b": 2}
            base = bases.get(bare[:2].lower())
            if base is None and int(bare) > 7:
                problem = f"{node.value} begins with 0: one version of YAML reads 8 as its base, another 10"
                raise self._error_at(node, f"{problem}; write {int(bare)}", "not clear")
            try:
                number = sign * int(bare, base or 10)
            except ValueError:
                raise self._error_at(node, f"{node.value!r} is no whole number") from None
        else:
            number = sign * int(bare)
        if abs(number) > LARGEST_INTEGER:
            raise self._error_at(node, f"an integer beyond ±{LARGEST_INTEGER}", "too large")
        return number

    def _float(self, node: ScalarNode, text: str) -> float:
        if text.lstrip("+-") in (".inf", ".nan"):
            return float(text.replace(".", ""))
        number = float(text) if not text.lstrip("+-").startswith("0x") else math.nan
        mantissa = text.partition("e")[0]
        if number == 0 and mantissa.strip("+-0."):
            raise self._error_at(node, f"{node.value} is smaller than any number of a computer", "too small")
        return number

    def _require_tag(self, node: Node, kind: str) -> None:
        if node.tag != PREFIX + kind:
            raise self._foreign(node)

    def _foreign(self, node: Node) -> UserError:
        tag = printable(node.tag.replace(PREFIX, "!!"), 100)
        return self._error_at(node, f"the tag {tag}, which study files do not know")

    def _error_at(self, node: Node, problem: str, kind: str = "not valid YAML") -> UserError:
        return UserError(f"{kind}: {problem}", where=f"{self.where}, line {node.start_mark.line + 1}")


def _below(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
