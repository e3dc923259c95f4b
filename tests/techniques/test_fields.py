"""Fields beside a technique's first one refuse what makes no sense, naming the key; the first is the contracts'."""

import math

import pytest

from regulab.errors import UserError
from regulab.techniques import parse

WRONG = [
    ("adaptive_gradient_clipping", {"eps": 0}),
    ("adaptive_gradient_clipping", {"ratio": 0}),
    ("adaptive_gradient_clipping", {"last_layer": "classify"}),
    ("gradient_noise", {"gamma": -1}),
    ("gradient_noise", {"gamma": math.inf}),
    ("asam", {"eta": -0.01}),
    ("asam", {"rho": 0.5, "eta": math.nan}),
    ("flooding", {}),
    ("gradient_penalty", {"strength": math.inf}),
    ("r_drop", {"alpha": -1}),
    ("r_drop", {"copies": 3}),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name} {value}" for name, value in WRONG])
def test_nonsense_is_refused_with_its_key(name, value):
    with pytest.raises(UserError) as raised:
        parse(name, value, "arms.some")
    assert f"arms.some.{name}" in str(raised.value)
    for key in value:
        if key != "rho":
            assert key in str(raised.value)
            break
