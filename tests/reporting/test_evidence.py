from dataclasses import replace

import pytest

from regulab.reporting.sections.evidence import noise_lines, pairing_lines, pairing_words
from regulab.statistics import compare
from tests.reporting.factory import make_records


def lines(records):
    comparison = compare(records)
    return comparison, pairing_lines(records, comparison), noise_lines(records, comparison)


def test_pairing_is_told_as_measured():
    comparison, pairing, _ = lines(make_records(seeds=4))
    assert [line.arm for line in pairing] == [f"{arm} (strength of {arm})" for arm in ("l1", "l2", "l1+l2")]
    gain = comparison.arms["l1"].gain
    assert pairing[0].cells[:2] == ("4", f"{gain.correlation:.2f}".replace("-", "−"))
    assert float(pairing[0].cells[2]) == pytest.approx(gain.paired_variance**0.5, abs=1e-3)
    assert "With 4 pairs these are rough estimates." in pairing_words(comparison)


def test_one_seed_measures_neither():
    comparison, pairing, noise = lines(make_records(seeds=1))
    assert pairing == noise == []
    assert "cannot be measured" in pairing_words(comparison)


def test_a_negative_variance_is_not_seen_rather_than_a_number():
    records = make_records(seeds=3, wrong=10)  # always ten mistakes, at random places
    _, _, noise = lines(records)
    assert {line.cells[-1] for line in noise} == {"not seen"}
    comparison = compare(records)
    split = replace(comparison.arms["l1"].noise, run_to_run=0.04)
    arms = comparison.arms | {"l1": replace(comparison.arms["l1"], noise=split)}
    assert noise_lines(records, replace(comparison, arms=arms))[1].cells[-1] == "0.200"
