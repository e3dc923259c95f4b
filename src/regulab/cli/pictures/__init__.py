"""Pictures of what a technique, norm, schedule or optimizer does, in characters, drawn from its own code.

No part is known by name: which hooks it has decides what is drawn. Strengths are those of its first example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from regulab.cli.pictures.canvas import Block, Paper, beside, wrapped

if TYPE_CHECKING:
    from regulab.techniques.technique import Technique


def of_technique(kind: type[Technique], paper: Paper) -> Block:
    """Lines; none where the technique has nothing that can be drawn."""
    from regulab.cli.pictures import curves, images, layers

    example = kind.examples()[0]
    blocks = [block for kind_of in (curves, images, layers) for block in kind_of.pictured(example, paper)]
    return (
        [*wrapped(paper, f"What it does, {example.legend()}:"), "", *beside(paper, blocks, gap=2)]
        if blocks
        else []
    )
