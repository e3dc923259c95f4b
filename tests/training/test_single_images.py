"""Batches of one image: a norm over the batch may see a single value, which is refused before anything trains."""

from __future__ import annotations

import pytest

from regulab.errors import UserError
from regulab.training.checks import check_model
from tests.training.setups import setup_of, study_of


def checked(norm, name="mlp", size=1, **arm):
    model = {"name": name, "norm": norm, "dropout": 0.1}
    check_model(
        setup_of(
            study_of({"none": arm, "l2": {"l2": 0.1, **arm}}, model=model, train={"batch_size": size}), 9
        )
    )


@pytest.mark.parametrize("norm", ["batch", "batch_renorm", "ghost_batch"])
def test_a_norm_over_a_single_value_is_refused(norm):
    with pytest.raises(
        UserError, match="batches of one image leave a norm of arm none a single value"
    ) as raised:
        checked(norm)
    assert raised.value.where == "train.batch_size"


def test_other_norms_maps_with_places_and_two_copies_are_not():
    checked("layer")
    checked("batch", name="cnn10k")
    checked("batch", size=2)
    checked("batch", r_drop=1)
