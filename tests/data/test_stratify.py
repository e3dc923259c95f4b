import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulab.data.stratify import apportion, largest_part, stratified


@given(st.lists(st.integers(1, 300), min_size=1, max_size=12), st.data())
def test_apportionment_keeps_quota_and_leaves_one_of_each_class(sizes, data):
    sizes = np.array(sizes)
    count = data.draw(st.integers(0, largest_part(sizes)))
    taken = apportion(sizes, count)
    assert taken.sum() == count
    assert (taken <= sizes - 1).all()
    if (sizes > sizes.sum() / (sizes.sum() - count)).all():  # no class is at its limit
        assert (np.abs(taken - count * sizes / sizes.sum()) < 1).all()


def test_ties_go_to_the_lower_class():
    assert apportion(np.array([5, 5, 5, 5]), 6).tolist() == [2, 2, 1, 1]


def test_remainders_by_hand():
    # quotas 10·(7, 11, 3)/21 = 3.33, 5.24, 1.43: the third class has the largest remainder
    assert apportion(np.array([7, 11, 3]), 10).tolist() == [3, 5, 2]


def test_a_class_of_one_image_keeps_it():
    assert apportion(np.array([1, 99]), 98).tolist() == [0, 98]


def test_a_class_without_images_gives_none():
    assert apportion(np.array([4, 0, 4]), 6).tolist() == [3, 0, 3]


@given(st.lists(st.integers(0, 4), min_size=10, max_size=80), st.data())
def test_stratified_indices_are_distinct_ascending_and_apportioned(labels, data):
    labels = np.array(labels)
    sizes = np.bincount(labels)
    count = data.draw(st.integers(0, largest_part(sizes)))
    indices = stratified(labels, count, "test")
    assert (np.diff(indices) > 0).all()
    assert np.bincount(labels[indices], minlength=len(sizes)).tolist() == apportion(sizes, count).tolist()


def test_parts_are_drawn_independently_and_repeat():
    labels = np.arange(200) % 4
    first = stratified(labels, 50, "test")
    assert np.array_equal(first, stratified(labels, 50, "test"))
    assert not np.array_equal(first, stratified(labels, 50, "validation"))


def test_the_choice_is_frozen():
    """A change here changes every study's splits."""
    assert stratified(np.arange(30) % 3, 6, "test").tolist() == [3, 16, 17, 19, 21, 23]


def test_too_large_a_part_is_an_error_of_the_program():
    with pytest.raises(AssertionError):
        apportion(np.array([3, 3]), 5)
