"""Every technique and norm with its equation, parameters and source, from its own code.

``python -m regulab.cli.technique_page`` prints the page ``docs/techniques.md``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from regulab.cli.acting import by_place
from regulab.cli.reference import Key, keys_of_part
from regulab.config.documents import dump_yaml

if TYPE_CHECKING:
    from pydantic import BaseModel

    from regulab.models.norm import Norm
    from regulab.techniques.technique import Technique

PAGE = """# Techniques and norms

Every technique that an arm may have, and every norm, with its equation, its parameters, what differs in inference, and
its source. `regulab show techniques NAME` prints the same with a picture of what it does; this page is made by
`python -m regulab.cli.technique_page > docs/techniques.md`.

In an arm `name: NUMBER` sets the first parameter of the table; `name: {key: value}` sets several.
"""


def page() -> str:
    """``docs/techniques.md``."""
    from regulab.models import NORMS
    from regulab.techniques import TECHNIQUES

    groups = by_place(TECHNIQUES)
    contents = [
        f"- {place}: {', '.join(_link(name) for name in members)}" for place, members in groups.items()
    ]
    contents.append(f"- Norms: {', '.join(_link(name, norm=True) for name in NORMS)}")
    parts = [PAGE, "\n".join(contents) + "\n"]
    for place, members in groups.items():
        parts.append(f"## {place}\n")
        parts += [_technique(kind) for kind in members.values()]
    parts.append("## Norms\n\n`model.norm` for all arms, or `norm` in one.\n")
    parts += [_norm(kind) for kind in NORMS.values()]
    return "\n".join(parts)


def _link(name: str, norm: bool = False) -> str:
    anchor = f"norm-{name}" if norm else name
    return f"[{name}](#{anchor})"


def _technique(kind: type[Technique]) -> str:
    from regulab.data.augmentation import AugmentSettings

    examples = {
        f"example{k or ''}": {kind.name: _written(example)} for k, example in enumerate(kind.examples())
    }
    as_of_the_study = issubclass(
        kind, AugmentSettings
    )  # whose keys docs/study-file.md has under data.augment
    keys = [] if as_of_the_study else sorted(keys_of_part(kind), key=lambda key: key.name != kind.scalar)
    return "\n".join([f"### {kind.name}\n", *_told(kind, keys), *_yaml({"arms": {"none": {}, **examples}})])


def _norm(kind: type[Norm]) -> str:
    written = [{"name": kind.name, **_changed(example)} for example in kind.examples()]
    said = [one if len(one) > 1 else kind.name for one in written]
    keys = keys_of_part(kind)
    return "\n".join([f"### norm: {kind.name}\n", *_told(kind, keys), *_yaml({"model": {"norm": said[-1]}})])


def _told(kind: type[Any], keys: list[Key]) -> Iterator[str]:
    yield _markdown(inspect.cleandoc(kind.__doc__ or "")) + "\n"
    if not keys:
        return
    yield "| parameter | takes | default | meaning |\n| --- | --- | --- | --- |"
    for key in keys:
        cells = [f"`{key.name}`", key.takes, f"`{key.default}`" if key.default else "", key.meaning]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _markdown(text: str) -> str:
    """A docstring as Markdown: names in single backticks, what follows ``::`` as a block of code."""
    blocks = []
    for block in re.split(r"\n\n+", text):
        if block.startswith("    "):
            blocks.append(f"```text\n{inspect.cleandoc(block)}\n```")
        else:
            plain = block.removesuffix("::") + (":" if block.endswith("::") else "")
            blocks.append(re.sub(r"``(.+?)``", r"`\1`", plain, flags=re.DOTALL))
    return "\n\n".join(blocks)


def _yaml(content: dict[str, Any]) -> list[str]:
    return [f"```yaml\n{dump_yaml(content).rstrip()}\n```\n"]


def _written(example: Technique) -> Any:
    """As a study file says it: the first parameter alone where the others have their defaults."""
    changed = _changed(example)
    scalar = getattr(example, example.scalar)
    if not changed or (list(changed) == [example.scalar] and isinstance(scalar, int | float | str)):
        return scalar
    return changed


def _changed(example: BaseModel) -> dict[str, Any]:
    """What is not as it is by default."""
    return example.model_dump(mode="json", exclude_defaults=True)


if __name__ == "__main__":
    print(page(), end="")
