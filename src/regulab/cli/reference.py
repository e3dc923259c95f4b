"""Every key of the study file with what it takes, its default and its meaning, from the models that check it.

``python -m regulab.cli.reference`` prints the page ``docs/study-file.md``.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from regulab.config import Study
from regulab.values.describing import parts_of, properties, rule
from regulab.values.named import Named
from regulab.values.short import Short

OWN_AUGMENTATION = "arms.ARM.augmentation"
AS_THE_STUDYS = "Augmentation of the arm's own, in the place of the study's: every key of `data.augment`."


@dataclass(frozen=True)
class Key:
    """``of`` names the optimizer, schedule or norm that a key belongs to."""

    name: str
    of: str
    takes: str
    default: str
    meaning: str


def study_keys() -> list[Key]:
    """All keys, in the order of the study file, with those of augmentation and of every technique."""
    from regulab.data.augmentation import AugmentSettings
    from regulab.models import NETS, NORMS
    from regulab.techniques import TECHNIQUES
    from regulab.techniques.norm import Normalization

    def norms(prefix: str) -> list[Key]:
        return [key for name, kind in NORMS.items() for key in _keys(kind, prefix, name)]

    found = []
    for key in _keys(Study):
        if key.name == "resolved":
            continue
        found.append(key)
        if key.name == "model.args":
            found += [own for name, net in NETS.items() for own in _keys(net.args, key.name, name)]
        if key.name == "model.norm":
            found += norms(key.name)
        if key.name == "data.augment":
            found += _keys(AugmentSettings, key.name)
        if key.name == "arms":
            for name, kind in TECHNIQUES.items():
                found += _keys(kind, f"arms.ARM.{name}")
                found += norms(f"arms.ARM.{name}") if name == Normalization.name else []
    return found


def _keys(kind: type[BaseModel], prefix: str = "", of: str = "") -> Iterator[Key]:
    schemas = properties(kind)
    for name, field in kind.model_fields.items():
        key = f"{prefix}.{name}" if prefix else name
        options, meaning = parts_of(field), field.description or ""
        named = [option for option in options if issubclass(option, Named)]
        if named:
            names = " or ".join(option.name for option in named)
            yield Key(key, of, names, str(getattr(field.default, "name", field.default)), meaning)
            for option in named:
                yield from _keys(option, key, option.name)
        elif options:
            short = _short_forms(field, options[0])
            default = "" if short or isinstance(field.default, BaseModel) else _default(name, kind)
            yield Key(key, of, f"{short}mapping" if short else rule(schemas[name]), default, meaning)
            yield from _keys(options[0], key, of)
        else:
            yield Key(key, of, _values_taken(name, schemas[name]), _default(name, kind), meaning)


def keys_of_part(kind: type[BaseModel]) -> list[Key]:
    """The keys of one part alone, without those of the study around it."""
    return list(_keys(kind))


def _short_forms(field: FieldInfo, part: type[BaseModel]) -> str:
    """What a part may be written as besides a mapping."""
    found = ""
    for mark in field.metadata:
        if isinstance(mark, Short):
            found += f"{rule(properties(part)[mark.key])} or " if mark.key else ""
            found += "true or false or " if mark.whole else ""
    return found


def _values_taken(name: str, schema: Mapping[str, object]) -> str:
    if name == "seeds":
        return "a count from 1 to 10,000, or a list of whole numbers ≥ 0"
    return rule(schema)


def _default(name: str, kind: type[BaseModel]) -> str:
    field = kind.model_fields[name]
    if field.is_required():
        return "required"
    if name == "seeds":
        return "10"
    if name == "arms":
        return "none, l1, l2, l1+l2"
    if isinstance(field.default, str):
        return field.default
    return json.dumps(field.default)


def lines(chosen: list[Key]) -> list[str]:
    """One line per key, for the terminal."""
    width = max((len(key.name) for key in chosen), default=0)
    return [f"{key.name:{width}}  {_facts(key)}  {key.meaning}" for key in chosen]


def _facts(key: Key) -> str:
    default = "required" if key.default == "required" else f"default {key.default}" if key.default else ""
    return "; ".join(part for part in (f"({key.of}) {key.takes}" if key.of else key.takes, default) if part)


def whole(kind: type[BaseModel]) -> str:
    """Everything about one optimizer or schedule."""
    found = keys_of_part(kind)
    return "\n".join([inspect.cleandoc(kind.__doc__ or ""), *(["", *lines(found)] if found else [])])


PAGE = """# The study file

Every key, what it takes, and its default. `regulab show keys` prints the same; this page is made by
`python -m regulab.cli.reference > docs/study-file.md`.

- A study file is YAML: anchors, aliases and merge keys (`<<: *base`) work, `5e-4` is a number, and top-level keys that
  begin with `x-` are there to be merged from. A date or `1:30` is a text. What is misspelt, out of range, or without
  effect is refused before anything is loaded, with the line.
- Keys that a file leaves out have their defaults. On the command line `train.epochs=5` replaces what a key says.
- In an arm `l1: 1e-4` is short for `l1: {strength: 1e-4}`: a bare value is a technique's first parameter.
- **One learning rate.** `train.optimizer.lr` is the highest rate of every schedule. Under `one_cycle` (the default)
  `train.schedule.max_lr` is another name for it; two that differ are refused, but for SGD's `lr: 0.01` beside a
  `max_lr`, which is its default written out. With neither, SGD rises to 0.1 and Adam to 0.001.
- **The command line holds over the file.** `train.optimizer.lr=0.05` replaces a file's `max_lr` too;
  `protocol.kind=course` drops its `validation`; `endpoint.metric=test_loss` its margin.
- **The name keys every draw.** Initial weights, orders, augmentation and dropout follow from `key`, the seed and what
  is drawn. `key` is the name unless it is given: give the old name as `key`, and a renamed study repeats its numbers.
- **Augmentation** (`data.augment`, or an arm's own) is done in the order of its keys, before normalization. Every image
  has draws of its own in each epoch, a stream for each operation, which all arms of a seed share: adding an operation
  leaves the draws of the others as they were.
- **Paths** (`folder:photos`, `nets.py:Net`) are relative to the file; on the command line, to the working directory.

| key | takes | default | meaning |
| --- | --- | --- | --- |
"""


def page() -> str:
    """``docs/study-file.md``."""
    rows = []
    told = [key for key in study_keys() if not key.name.startswith(f"{OWN_AUGMENTATION}.")]
    first = next(place for place, key in enumerate(told) if key.name > OWN_AUGMENTATION and "ARM" in key.name)
    told.insert(first, Key(f"{OWN_AUGMENTATION}.…", "", "as `data.augment`", "", AS_THE_STUDYS))
    for key in told:
        of = f" ({key.of})" if key.of else ""
        cells = [f"`{key.name}`{of}", key.takes, f"`{key.default}`" if key.default else "", key.meaning]
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return PAGE + "".join(rows)


if __name__ == "__main__":
    print(page(), end="")
