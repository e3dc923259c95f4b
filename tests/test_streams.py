from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regulab.streams import Streams


def raw(streams, *key):
    return streams.generator(*key).bit_generator.random_raw(4).tolist()


def test_every_part_of_the_key_matters():
    keys = itertools.product(
        (Streams("a", 0), Streams("a", 1), Streams("b", 0)), ("order", "dropout"), ("", "x"), (0, 1)
    )
    seen = [tuple(raw(streams, *key)) for streams, *key in keys]
    assert len(set(seen)) == len(seen) == 24


def test_an_arm_of_its_own_has_draws_of_its_own():
    streams = [Streams("a", 0), Streams("a", 0, "l1"), Streams("a", 0, "l2"), Streams("a", 1, "l1")]
    assert len({tuple(raw(one, "order")) for one in streams}) == 4
    assert Streams("a", 0, "") == Streams("a", 0)


@given(st.text(), st.integers(0, 2**40), st.text(), st.text(), st.integers(0, 10_000))
def test_the_same_key_gives_the_same_draws(study, seed, purpose, name, epoch):
    one, two = (raw(Streams(study, seed), purpose, name, epoch) for _ in range(2))
    assert one == two


def test_the_draws_themselves_are_fixed():
    """A golden value: changing it would change every recorded study."""
    assert raw(Streams("golden", 7), "order", "", 3)[:2] == GOLDEN


def test_generators_are_independent_objects():
    streams = Streams("a", 0)
    first = streams.generator("order")
    first.permutation(10)
    assert np.array_equal(
        streams.generator("order").permutation(10), Streams("a", 0).generator("order").permutation(10)
    )


GOLDEN = [12265362894809224526, 14393146986759848408]
