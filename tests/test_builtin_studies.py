"""Built-in studies: each says what it asks, is understood, and together they try every technique and norm."""

from __future__ import annotations

import pytest

from regulab.config import load_study
from regulab.config.loading import builtin_studies
from regulab.models import NORMS
from regulab.statistics.sign_flip import least_pairs
from regulab.techniques import TECHNIQUES, arms_of, legends
from regulab.techniques.norm import Normalization

STUDIES = builtin_studies()
# Stochastic depth needs residual blocks, which `cnn10k` has not. The norm with noise is an experiment of a lesson.
NOT_IN_EVERYTHING = {"stochastic_depth", "noisy_batch", "batch", "learning_rate"}


@pytest.mark.parametrize("name", STUDIES)
def test_it_says_what_it_asks_and_every_arm_is_understood(name):
    first = STUDIES[name].splitlines()[0]
    assert first.startswith("# ")
    assert "?" in first or name.startswith(("l1-l2", "everything"))
    study = load_study(name)
    assert study.name == name
    assert study.seeds == tuple(range(12 if name == "everything" else 10))
    assert len(study.seeds) >= least_pairs(0.05), "no difference can be shown"
    arms = arms_of(study)
    assert list(legends(study, arms)) == list(study.arms)
    assert len(set(arms.values())) == len(arms), "two arms are the same"


def test_everything_has_every_technique_and_norm():
    arms = arms_of(load_study("everything"))
    named = {technique.name for techniques in arms.values() for technique in techniques}
    norms = {t.kind for techniques in arms.values() for t in techniques if isinstance(t, Normalization)}
    assert {*TECHNIQUES, *NORMS} - named - norms <= NOT_IN_EVERYTHING
    assert {*TECHNIQUES} - named == {"learning_rate", "stochastic_depth"}
