from __future__ import annotations

import numpy as np
import pytest

from regulab.lessons.kit.directions import directions, interval_text

STEADY = np.array([1.0, 1.4, 0.7, 2.0, 0.3, 1.1, 0.9])


def test_the_sign_decides_where_the_test_passes():
    assert directions({"up": STEADY}) == {"up": "higher"}
    assert directions({"down": -STEADY}) == {"down": "lower"}
    assert directions({"either": STEADY * np.array([1, -1, 1, -1, 1, -1, 1])}) == {"either": "undecided"}


def test_more_comparisons_ask_for_more():
    """With 7 pairs the smallest p is 2/128: four comparisons at once, each times 4, can decide nothing."""
    assert set(directions(dict.fromkeys("abc", STEADY)).values()) == {"higher"}
    assert set(directions(dict.fromkeys("abcd", STEADY)).values()) == {"undecided"}


def test_a_pair_that_diverged_is_left_out():
    assert directions({"up": np.append(STEADY, np.nan)}) == {"up": "higher"}
    assert directions({"few": np.append(STEADY[:5], np.nan)}) == {"few": "undecided"}


@pytest.mark.parametrize(("values", "text"), [([2.0], "2.0"), ([1.0, 3.0], "2.0 [-10.7, 14.7]")])
def test_an_interval_as_printed(values, text):
    assert interval_text(np.array(values)) == text
