"""Dropout called as a function draws from keyed streams, with torch's own mathematics."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from regulab.models.drawn_calls import DROPOUTS, DrawnCalls
from regulab.models.layers.dropout import ALPHA, inverse_keep, threshold

RATE = 0.25


class Source:
    """Draws of every name, kept."""

    def __init__(self) -> None:
        self.given: dict[str, Tensor] = {}

    def __call__(self, name: str, shape: torch.Size) -> Tensor:
        assert name not in self.given
        generator = torch.Generator().manual_seed(len(self.given))
        self.given[name] = torch.randint(
            -(2**15), 2**15, tuple(shape), generator=generator, dtype=torch.int16
        )
        return self.given[name]


def image() -> Tensor:
    return torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        (lambda x: F.dropout(x, RATE), (3, 4, 5, 5)),
        (lambda x: F.dropout(x.clone(), p=RATE, inplace=True), (3, 4, 5, 5)),
        (lambda x: torch.dropout(x, RATE, True), (3, 4, 5, 5)),
        (lambda x: torch.dropout_(x.clone(), p=RATE, train=True), (3, 4, 5, 5)),
        (lambda x: F.dropout2d(x, RATE), (3, 4, 1, 1)),
        (lambda x: torch.feature_dropout(x, RATE, True), (3, 4, 1, 1)),
    ],
)
def test_drops_where_the_draws_lie_below_the_threshold(
    call: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    source, x = Source(), image()
    with DrawnCalls(source):
        y = call(x)
    assert source.given["call 1"].shape == shape
    kept = (source.given["call 1"] >= threshold(RATE)).expand_as(x)
    assert torch.equal(y, torch.where(kept, x * inverse_keep(RATE), 0.0))
    assert not kept.all()


def test_alpha_dropout_keeps_mean_and_variance_of_its_equation() -> None:
    source, x = Source(), image()
    with DrawnCalls(source):
        y = F.alpha_dropout(x, RATE, training=True)
    kept = source.given["call 1"] >= threshold(RATE)
    a = (0.75 + ALPHA**2 * 0.75 * 0.25) ** -0.5
    want = a * torch.where(kept, x, ALPHA) - a * 0.25 * ALPHA
    torch.testing.assert_close(y, want, rtol=1e-12, atol=1e-12)


def test_calls_are_counted_anew_in_every_pass_and_with_those_that_drop_nothing() -> None:
    x = image()
    for _ in range(2):
        source = Source()
        with DrawnCalls(source):
            F.dropout(x, 0.0)
            F.dropout(x, RATE, False)
            F.alpha_dropout(x, RATE)
            F.dropout(x, RATE)
        assert list(source.given) == ["call 4"]


def test_nothing_kept_and_nothing_dropped_are_torchs_own() -> None:
    source, x = Source(), image()
    with DrawnCalls(source):
        assert torch.equal(F.dropout(x, 1.0), torch.zeros_like(x))
        assert torch.equal(F.dropout(x, 0.0), x)
        with pytest.raises(ValueError, match="between 0 and 1"):
            F.dropout(x, 1.5)
    assert not source.given


def test_a_vector_is_drawn_with_two_axes() -> None:
    source, x = Source(), image()[0, 0, 0]
    with DrawnCalls(source):
        assert F.dropout(x, RATE).shape == x.shape
    assert source.given["call 1"].shape == (5, 1)


@pytest.mark.parametrize(
    "options", [{}, {"is_causal": True}, {"scale": 0.3}, {"mask": "bool"}, {"mask": "added"}, {"gqa": True}]
)
def test_attention_that_drops_is_torchs_attention_with_keyed_draws(options: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(2, 4, 5, 6, generator=generator, dtype=torch.float64) for _ in range(3))
    given = {key: value for key, value in options.items() if key in ("is_causal", "scale")}
    if options.get("gqa"):
        k, v, given = k[:, :2], v[:, :2], {"enable_gqa": True}
    if "mask" in options:
        allowed = torch.rand(5, 5, generator=generator) > 0.3
        allowed |= torch.eye(5, dtype=torch.bool)
        added = torch.zeros(5, 5, dtype=torch.float64).masked_fill(~allowed, -math.inf)
        given["attn_mask"] = allowed if options["mask"] == "bool" else added
    highest = lambda name, shape: torch.full(tuple(shape), 2**15 - 1, dtype=torch.int16)  # noqa: E731
    with DrawnCalls(highest):  # nothing is dropped, so that torch's function says what it must be
        got = F.scaled_dot_product_attention(q, k, v, dropout_p=RATE, **given)
    want = F.scaled_dot_product_attention(q, k, v, **given) * inverse_keep(RATE)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_every_dropout_function_is_drawn_and_none_moves_torchs_generator() -> None:
    state, x = torch.get_rng_state(), torch.randn(3, 4, 5, 5, 5)
    state = torch.get_rng_state()
    for function, rule in DROPOUTS.items():
        source = Source()
        of = x[..., 0, 0] if function is F.dropout1d else x[..., 0] if function is F.dropout2d else x
        with DrawnCalls(source):
            y = function(of.clone(), 0.5, True)
        assert list(source.given) == ["call 1"], rule
        assert not torch.equal(y, of)
    assert torch.equal(torch.get_rng_state(), state)
