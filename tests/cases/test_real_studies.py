"""Real studies whose truth is known, and the rules that are tried on them: what they count as wrong, and as found."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from regulab.training.machine import process_settings

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import aa_studies
import how_others_decide
import real_studies

TINY = real_studies.Kind({"name": "mlp", "depth": 1, "args": {"width": 8}}, 40, 1, 20, 0.3, 0.3, 1)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(real_studies, "KINDS", {"tiny": TINY})
    monkeypatch.setattr(real_studies, "SEEDS", 2)


def test_studies_go_on_where_they_stopped(tiny, tmp_path, monkeypatch):
    with process_settings():
        first = real_studies.run(1, tmp_path / "a.json")["studies"]
        both = real_studies.run(2, tmp_path / "a.json")["studies"]
        later = real_studies.run(2, tmp_path / "b.json", start=1)["studies"]
    assert both[:2] == first
    assert both[2:] == later  # a round is the same wherever it is trained
    assert [one["number"] for one in both] == [0, 0, 1, 1]
    assert json.loads((tmp_path / "a.json").read_text())["studies"] == both
    for pairing in real_studies.PAIRINGS:
        right = real_studies.recorded({"studies": both}, pairing)["tiny"].final
        assert right.shape == (2, 2, len(real_studies.ARMS))
        assert ((right >= 0) & (right <= 1000)).all()
        assert (right[..., 1:4] != right[..., :1]).any()  # identical arms, and luck
    monkeypatch.setattr(real_studies, "TEST_IMAGES", 900)
    with pytest.raises(SystemExit, match="another kind"):
        real_studies.run(3, tmp_path / "a.json")


def test_paired_arms_share_all_but_their_draws_of_dropout(tiny):
    with process_settings():
        setups = {pairing: real_studies.setup_of("tiny", pairing)[0] for pairing in real_studies.PAIRINGS}

    def draws(pairing, arm, purpose):
        return setups[pairing].streams(3, arm).generator(purpose, "x", 1).random(4).tolist()

    for purpose, alike in (("order", True), ("initial weights", True), ("dropout", False)):
        assert (draws("paired", "none", purpose) == draws("paired", "twin 1", purpose)) is alike
        assert draws("unpaired", "none", purpose) != draws("unpaired", "twin 1", purpose)


def differences(*arms, studies=1):
    return np.tile(np.array(arms)[None], (studies, 1, 1))


def test_a_study_counts_once_and_only_where_it_errs():
    found = aa_studies.Found(
        better=np.array([[True, True, False], [False, False, False], [False, False, False]]),
        worse=np.array([[False, False, False], [False, True, False], [False, False, False]]),
        equivalent=np.array([[False, False, False], [True, False, False], [False, True, False]]),
        seeds=np.full((3, 3), 7),
    )
    assert aa_studies.erred(found, (0, 0, 0)).tolist() == [True, True, False]
    assert aa_studies.erred(found, (1, 1, 1)).tolist() == [True, True, True]
    assert aa_studies.erred(found, (0, 1, 1)).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "rule",
    [name for name in aa_studies.RULES if not name.startswith("6 seeds, Holm")],
    ids=lambda name: name.strip("*").split(" (")[0],
)
def test_every_rule_finds_what_is_plain_to_see(rule):
    seeds, decide = aa_studies.RULES[rule]
    steady = np.arange(seeds) % 3 - 1
    d = differences(steady + 40, steady - 40, steady, studies=2)
    found = decide(d, np.array([10.0, 10.0]))
    assert found.better.tolist() == [[True, False, False]] * 2
    assert found.worse.tolist() == [[False, True, False]] * 2
    assert found.equivalent.tolist() == [[False, False, True]] * 2


def test_what_is_planted_is_exact():
    own = aa_studies.Studies(differences([3, -2], [0, 1], [5, 5]), np.array([2.6]), {"tiny": 1})
    assert own.margins.tolist() == [4]
    assert (own.d - own.planted(1.0) == 3).all()


def test_blocks_of_seeds_are_studies_that_share_no_run():
    own = aa_studies.Studies(np.arange(120).reshape(2, 3, 20), np.array([1.0, 9.0]), {"tiny": 2})
    blocks = own.of(7)
    assert blocks.d.shape == (4, 3, 7)
    assert len(set(blocks.d.ravel().tolist())) == 4 * 3 * 7
    assert blocks.d[:2].tolist() == own.d[..., :7].tolist()
    assert blocks.spreads.tolist() == [1, 9, 1, 9]


def test_the_signed_rank_p_is_scipys_where_nothing_is_tied():
    arm, base = np.random.default_rng(3).permuted(np.arange(1000).reshape(2, 50, 10) ** 2, axis=-1)
    d = np.abs(arm - base)
    rows = [k for k in range(50) if len(set(d[k])) == 10 and d[k].all()]
    assert len(rows) > 20
    found = how_others_decide.signed_rank(arm, base)
    for k in rows:
        assert found[k] == pytest.approx(stats.wilcoxon(arm[k] - base[k], method="exact").pvalue)


NORMAL = np.random.default_rng(0).normal(0, 10, (2, 60, 20))


@pytest.mark.parametrize("way", how_others_decide.WAYS, ids=lambda way: way.says.strip("*"))
def test_every_way_sees_a_large_difference_and_its_sign(way):
    arm, base = (np.round(900 + one[:, : way.seeds]).astype(int) for one in NORMAL)
    for shift in (100, -100):
        found = way.decide(arm + shift, base)
        assert (found.sign == np.sign(shift)).all()
        assert (found.seeds <= way.seeds).all()


@pytest.mark.parametrize("way", how_others_decide.WAYS, ids=lambda way: way.says.strip("*"))
def test_no_way_sees_a_difference_where_all_numbers_are_equal(way):
    same = np.full((3, way.seeds), 900)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # t of equal numbers, as in `how_others_decide.main`
        assert not way.decide(same, same).sign.any()


def test_looking_until_significant_errs_more_often_than_looking_once():
    arm, base = (np.round(one).astype(int) for one in np.random.default_rng(1).normal(0, 10, (2, 400, 20)))
    peeking = how_others_decide.until_significant(arm, base)
    once = how_others_decide.paired_t(arm[:, :10], base[:, :10])
    decided = how_others_decide.until_decided(arm, base)
    assert (peeking.sign != 0).mean() > 2 * (once.sign != 0).mean()
    assert (decided.sign != 0).mean() <= 0.05
    assert peeking.seeds.min() == 3
    assert decided.seeds.min() >= 5


def test_the_pages_are_made_of_what_was_recorded():
    generator = np.random.default_rng(2)
    studies = [
        {"kind": "mlp", "pairing": pairing, "number": k, "final": right.tolist(), "best_on_test": (right + 1).tolist()}
        for pairing in real_studies.PAIRINGS
        for k, right in enumerate(generator.integers(850, 950, (6, 20, len(real_studies.ARMS))))
    ]  # fmt: skip
    environment = {
        "processor": "a processor",
        "threads": 1,
        "precision": "fp32",
        "regulab": "0",
        "commit": "c",
    }
    content = {
        "environment": environment | {"libraries": {"torch": "2"}},
        "arms": list(real_studies.ARMS),
        "studies": studies,
        "command": "train",
    }
    text = aa_studies.page(content, "judge")
    assert "paired: 6 (6 mlp); unpaired: 6 (6 mlp)" in text
    assert "1,200 runs trained by `train`" in text
    assert text.count("| **7 seeds, step-down** | paired |") == 2
    others = how_others_decide.page(content, "judge")
    assert "12 comparisons of identical arms trained in pairs" in others
    assert all(others.count(f"| {way.says} |") == 2 for way in how_others_decide.WAYS)
