import re

from hypothesis import given
from hypothesis import strategies as st

from regulab.reporting.latex import latex_table, latex_text
from regulab.reporting.tables import rows, verdict_columns
from regulab.statistics import compare
from tests.reporting.factory import make_records

SPECIAL = re.compile(r"(?<!\\)[#%&_{}$~^]")


def test_what_means_something_is_escaped():
    assert latex_text("50 % of a_b & c#1") == r"50 \% of a\_b \& c\#1"
    assert latex_text("a\\b{c}~^\n$x$") == r"a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{} \$x\$"
    assert latex_text("λ=1e-4 −0.05") == r"$\lambda$=1e{-}4 $-$0.05"


@given(st.text(max_size=40))
def test_any_text_stays_one_balanced_line(text):
    found = latex_text(text)
    assert "\n" not in found
    own = re.sub(r"\\text\w+\{\}|\$(\\lambda|_1|_2|-|\\pm|\^\\circ|\\times)\$|\{-\}", "", found)
    assert not SPECIAL.search(own)


def test_every_row_has_as_many_cells_as_the_head():
    records = make_records(arms={"none": 0, "a & b_%": -0.5}, seeds=7, epochs=2)
    comparison = compare(records)
    table = latex_table(rows(records, comparison), comparison, verdict_columns(comparison)).decode()
    lines = [line for line in table.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 3
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {7}
    assert [rule for rule in ("toprule", "midrule", "bottomrule") if table.count(f"\\{rule}") == 1] == [
        "toprule",
        "midrule",
        "bottomrule",
    ]
    assert table.endswith("\\end{tabular}\n")
