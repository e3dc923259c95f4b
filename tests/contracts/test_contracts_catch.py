"""The contracts refuse techniques with mistakes, in words that tell their author what to mend."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from regulab.techniques.technique import (
    Hooks,
    Memory,
    Parameter,
    Penalty,
    Strengths,
    Technique,
    norm_per_run,
    over_runs,
    sum_per_run,
)
from tests.contracts import promises


def held_to_all(kind: type[Technique]) -> None:
    promises.finished(kind)
    for promise in promises.PROMISES:
        promise(kind)


class GroupLasso(Penalty):
    """Group lasso: adds λ·Σ‖row‖ over the rows of a weight, whole rows of which become zero.

    Source: Yuan & Lin 2006.
    """

    name: ClassVar[str] = "group_lasso"

    @classmethod
    def examples(cls):
        return (cls(strength=0.3),)

    def legend(self):
        return f"group lasso λ={self.strength:g}"

    @classmethod
    def stack(cls, values):
        strengths = Strengths(values)

        def penalty(p: Parameter):
            strength = strengths(p)
            return None if strength is None else sum_per_run(strength.flatten(1) * cls.lengths(p))

        def proximal(p: Parameter, step):
            strength = strengths(p)
            if strength is None:
                return None
            lengths = (
                over_runs(cls.lengths(p), p.value) if p.value.ndim < 2 else _rows(cls.lengths(p), p.value)
            )
            tau = strength * (
                step if step.ndim == 0 else step.flatten(2).mean(2)[..., *[None] * (p.value.ndim - 2)]
            )
            return p.value * cls.share(tau, lengths)

        return Hooks(penalty=penalty, proximal=proximal)

    @classmethod
    def lengths(cls, p):
        """``(R, rows)``."""
        return p.value.reshape(len(p.value), p.value.shape[1] if p.value.ndim > 1 else 1, -1).norm(dim=2)

    @classmethod
    def share(cls, tau, lengths):
        return (tau / lengths).clamp(max=1)


def _rows(lengths, value):
    return lengths.view(*lengths.shape, *[1] * (value.ndim - 2))


def test_a_right_one_passes():
    held_to_all(GroupLasso)


class TwiceTheStep(GroupLasso):
    __doc__ = GroupLasso.__doc__

    @classmethod
    def share(cls, tau, lengths):
        return (2 * tau / lengths).clamp(max=1)


class MixesRuns(GroupLasso):
    __doc__ = GroupLasso.__doc__

    @classmethod
    def lengths(cls, p):
        own = GroupLasso.lengths(p)
        return own.norm(dim=0, keepdim=True).expand_as(own)


class NoExample(GroupLasso):
    __doc__ = GroupLasso.__doc__

    @classmethod
    def examples(cls):
        return ()


class Unfinished(Technique):
    """Unfinished: says neither its hooks nor its legend."""

    name: ClassVar[str] = "unfinished"


class OneNumberForAll(GroupLasso):
    """Group lasso whose penalty is one sum over all runs.

    Source: none.
    """

    @classmethod
    def stack(cls, values):
        right = GroupLasso.stack(values)
        return Hooks(
            penalty=lambda p: None if right.penalty(p) is None else right.penalty(p).sum()[None].expand(1)
        )


class TransformOf(Technique):
    """Transforms a gradient in some wrong way, for tests of the contracts.

    Source: none.
    """

    name: ClassVar[str] = "transform_of"
    scalar: ClassVar[str] = "scale"
    transform: ClassVar[Any] = None

    @classmethod
    def examples(cls):
        return (cls(),)

    def legend(self):
        return "wrong"

    @classmethod
    def stack(cls, values):
        return Hooks(transform=cls.transform)


class InPlace(TransformOf):
    __doc__ = TransformOf.__doc__

    @staticmethod
    def transform(parameters, gradients, again):
        return {name: gradient.mul_(0.5) for name, gradient in gradients.items()}


class HiddenState(TransformOf):
    __doc__ = TransformOf.__doc__

    @classmethod
    def stack(cls, values):
        calls = []

        def transform(parameters, gradients, again):
            calls.append(1)
            return {name: gradient / (1 + len(calls)) for name, gradient in gradients.items()}

        return Hooks(transform=transform)


class NormOfTheStack(TransformOf):
    __doc__ = TransformOf.__doc__

    @staticmethod
    def transform(parameters, gradients, again):
        norm = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
        return {name: gradient / norm for name, gradient in gradients.items()}


class ForgetsNames(TransformOf):
    __doc__ = TransformOf.__doc__

    @staticmethod
    def transform(parameters, gradients, again):
        return {"all": norm_per_run(gradients)}


class MultipliesByAMask(GroupLasso):
    """A gradient whose strength is one at strength 0.

    Source: none.
    """

    @classmethod
    def stack(cls, values):
        here = torch.tensor([0.0 if value is None else 1.0 for value in values], dtype=torch.float64)
        return Hooks(gradient=lambda p: over_runs(here, p.value) * p.value)


class OneMemory(TransformOf):
    __doc__ = TransformOf.__doc__

    @classmethod
    def stack(cls, values):
        def init(weights):
            return {"mean": torch.zeros(7)}

        return Hooks(memory=Memory(init=init, update=lambda state, weights, moment: dict(state)))


class NoDocstring(TransformOf):
    @staticmethod
    def transform(parameters, gradients, again):
        return {name: -gradient for name, gradient in gradients.items()}


class DoesNothing(TransformOf):
    __doc__ = TransformOf.__doc__

    @staticmethod
    def transform(parameters, gradients, again):
        return dict(gradients)


class WrongDerivative(GroupLasso):
    __doc__ = GroupLasso.__doc__

    @classmethod
    def stack(cls, values):
        penalty, strengths = GroupLasso.stack(values).penalty, Strengths(values)
        return Hooks(
            penalty=penalty, gradient=lambda p: None if strengths(p) is None else strengths(p) * p.value
        )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (TwiceTheStep, "does not reach the minimum of step·penalty"),
        (MixesRuns, "depends on the runs beside it"),
        (NoExample, "give one value at least"),
        (Unfinished, "is not registered: it does not say examples, legend, stack"),
        (OneNumberForAll, r"penalty of .*: gives \(1,\), and should give \(3,\)"),
        (InPlace, "changes its input in place"),
        (HiddenState, "another output at the second call"),
        (NormOfTheStack, "depends on the runs beside it"),
        (ForgetsNames, "returns other names than it is given"),
        (MultipliesByAMask, "with strength: 0 it changes something"),
        (OneMemory, r"mean is \(7,\), and should be \(R, …\)"),
        (NoDocstring, "docstring"),
        (DoesNothing, "changes nothing in any hook"),
        (WrongDerivative, "is not the derivative of the penalty"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_mistake_is_named(kind, words):
    with pytest.raises(AssertionError, match=words):
        held_to_all(kind)
