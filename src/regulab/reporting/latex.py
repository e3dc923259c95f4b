"""The table of verdicts for a paper: LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from regulab.reporting.tables import Row, metric_name
from regulab.statistics import Comparison
from regulab.statistics.comparison import cut_note
from regulab.wording import one_line

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "-": r"{-}", "`": r"\textasciigrave{}",
    "λ": r"$\lambda$", "₁": r"$_1$", "₂": r"$_2$", "−": r"$-$", "–": r"--", "±": r"$\pm$", "°": r"$^\circ$",
    "×": r"$\times$", "“": "``", "”": "''", "…": r"\ldots{}",
}  # fmt: skip
_HEAD = """\
% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}; names beyond Latin letters need LuaLaTeX or XeLaTeX.
\\begin{tabular}{lrrrrrrl}
\\toprule
"""


def latex_text(text: object) -> str:
    """Text that LaTeX prints literally, on one line."""
    line = "".join(c for c in one_line(text) if c.isprintable())
    return "".join(_ESCAPES.get(character, character) for character in line)


def latex_table(rows: Sequence[Row], comparison: Comparison, columns: Sequence[str]) -> bytes:
    """The rows of the table of verdicts as a ``tabular``; what judges and how stands in a comment above it."""
    rule = "added after looks" if comparison.rule == "sequential" else "fixed beforehand"
    cut = cut_note(comparison.metric, comparison.arms.values())
    comment = (
        f"% {metric_name(comparison.metric)}; number of seeds {rule}; "
        f"intervals are 95 % t intervals, differences paired by seed\n"
    )
    comment += f"% {cut}\n" if cut else ""
    lines = [_line(columns)]
    lines += [
        _line((row.legend, row.seeds, row.mean, row.interval, row.difference, row.difference_interval, row.p,
               row.verdict))
        for row in rows
    ]  # fmt: skip
    body = "".join([lines[0], "\\midrule\n", *lines[1:]])
    return f"{comment}{_HEAD}{body}\\bottomrule\n\\end{{tabular}}\n".encode()


def _line(cells: Sequence[object]) -> str:
    return f"{' & '.join(map(latex_text, cells))} \\\\\n"
