"""A number that is none is refused with its place, and so is a row that no study can have."""

import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from regulab.errors import UserError
from regulab.records import Look
from regulab.statistics import compare
from regulab.statistics.equivalence import equivalence_p
from regulab.statistics.paired import paired_verdicts
from regulab.statistics.sign_flip import one_sided_p, two_sided_p
from tests.reporting.factory import make_records
from tests.samples import finished_run

BAD = [math.nan, math.inf, -math.inf]


def changed(records, arm, seed, **values):
    return replace(
        records,
        results=tuple(replace(r, **values) if (r.arm, r.seed) == (arm, seed) else r for r in records.results),
    )


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("metric", ["test_accuracy", "test_loss", "weight_norm_l1"])
def test_a_result_is_named_with_its_run(metric, bad):
    records = changed(make_records(seeds=7, epochs=1), "l2", 3, **{metric: bad})
    with pytest.raises(UserError, match=rf"results\.csv, arm l2, seed 3: {metric}.*got -?(nan|inf)"):
        compare(records, metric=metric)


@pytest.mark.parametrize("bad", [*BAD, 0, -0.1, True, "0.1", None])
def test_a_margin_is_a_positive_number(bad):
    records = make_records(seeds=7, epochs=1)
    records.study["endpoint"]["margin"] = bad
    with pytest.raises(UserError, match=r"study\.yaml: endpoint\.margin: not a margin"):
        compare(records)


@pytest.mark.parametrize("bad", BAD)
def test_differences_are_refused_by_every_test(bad):
    d, rng = np.array([0.1, bad, 0.3]), np.random.default_rng(0)
    for test in (two_sided_p, one_sided_p):
        with pytest.raises(UserError, match="difference 2 of 3 is not finite"):
            test(d, rng)
    with pytest.raises(UserError, match="not finite"):
        equivalence_p(d, 0.1, rng)
    with pytest.raises(UserError, match="not finite"):
        paired_verdicts({"arm": d}, 0.1, rng)
    with pytest.raises(UserError, match="not a margin"):
        equivalence_p(np.array([0.1, 0.2]), abs(bad), rng)


def test_a_run_of_no_arm_and_a_run_that_stands_twice_are_named():
    records = make_records(seeds=7, epochs=1)
    strange = replace(records, results=(*records.results, replace(records.results[0], arm="l3")))
    with pytest.raises(UserError, match=r"results\.csv, arm l3, seed 0.*expected one of none, l1"):
        compare(strange)
    with pytest.raises(UserError, match=r"results\.csv, arm l1, seed 2: this run stands there twice"):
        compare(replace(records, results=(*records.results, records.results[9])))


@pytest.mark.parametrize(
    ("looks", "place"),
    [
        ([(0, 0, 1)], r"0\.seeds: a seed stands there twice"),
        ([(0, 1), (0, 1, 99)], r"1\.seeds: seeds that the study does not have"),
        ([(0, 1, 2), (0, 1)], r"1\.seeds: a look without seeds of the look before"),
    ],
)
def test_looks_that_no_study_can_have_had_are_refused(looks, place):
    records = make_records(seeds=7, epochs=1)
    with pytest.raises(UserError, match=rf"looks\.json: {place}"):
        compare(replace(records, looks=tuple(Look(seeds=seeds, arms={}) for seeds in looks)))


def test_only_the_first_look_is_fixed():
    looks = tuple(Look(seeds=tuple(range(n)), arms={}, rule="fixed") for n in (6, 7))
    with pytest.raises(UserError, match=r"looks\.json: 1\.rule: only the first"):
        compare(replace(make_records(seeds=7, epochs=1), looks=looks))


def test_a_table_with_a_row_that_is_not_finite_names_it_and_gives_no_verdict(tmp_path):
    finished_run(tmp_path / "run")
    path = tmp_path / "run" / "results.csv"
    assert "33.333333333333336" in path.read_text()
    path.write_text(path.read_text().replace("33.333333333333336", "nan"))
    command = [
        sys.executable,
        "-c",
        "import sys; from regulab.__main__ import main; sys.argv = ['regulab', 'compare', sys.argv[1]]; main()",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"results\.csv, row 2: test_accuracy: .*got 'nan'", done.stderr)
    assert not re.search("nan|better|worse|equivalent", done.stdout)
    assert "Traceback" not in done.stderr
