"""The contracts refuse techniques with mistakes, in words that tell their author what to mend."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from regulab.techniques.penalty import Penalty, Strengths, sum_per_run
from regulab.techniques.technique import Hooks, Memory, Parameter, Technique, norm_per_run, over_runs
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
            return None if strength is None else sum_per_run(strength.view(-1, 1) * cls.lengths(p))

        def proximal(p: Parameter, step):
            strength = strengths(p)
            if strength is None:
                return None
            z, tau = rows(p.value), rows((strength * step).expand_as(p.value))
            return cls.removed(p, z, tau).view_as(p.value)

        return Hooks(penalty=penalty, proximal=proximal)

    @classmethod
    def removed(cls, p, z, tau):
        """w = z·n/(n + τ), whose norm n is found by halving: Adam's steps, and so τ, differ from element to element."""
        low, high = torch.zeros_like(z[..., :1]), cls.lengths(p)[..., None]
        for _ in range(60):
            n = (low + high) / 2
            longer = (z / (n + tau)).norm(dim=2, keepdim=True) > 1
            low, high = torch.where(longer, n, low), torch.where(longer, high, n)
        return torch.where((z / tau).norm(dim=2, keepdim=True) > 1, z * tau / (high + tau), z)

    @classmethod
    def lengths(cls, p):
        """``(R, rows)``."""
        return rows(p.value).norm(dim=2)


def rows(value):
    """``(R, rows, n)``."""
    return value.reshape(len(value), value.shape[1] if value.ndim > 1 else 1, -1)


def test_a_right_one_passes():
    held_to_all(GroupLasso)


class TwiceTheStep(GroupLasso):
    __doc__ = GroupLasso.__doc__

    @classmethod
    def removed(cls, p, z, tau):
        return GroupLasso.removed(p, z, 2 * tau)


class OneStepForAll(GroupLasso):
    """The soft threshold of a row's length, which is right for SGD, whose step is one number, and not for Adam.

    Source: none.
    """

    @classmethod
    def removed(cls, p, z, tau):
        return z * (tau.mean(2, keepdim=True) / cls.lengths(p)[..., None]).clamp(max=1)


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


class RowsOfEverything(GroupLasso):
    """Group lasso that knows weights alone, and no single number.

    Source: none.
    """

    @classmethod
    def examples(cls):
        return (cls(strength=0.3, include="all"),)

    @classmethod
    def lengths(cls, p):
        return p.value.flatten(2).norm(dim=2)


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


class LossInPlace(TransformOf):
    __doc__ = TransformOf.__doc__

    @classmethod
    def stack(cls, values):
        return Hooks(loss=lambda losses, logits, targets: losses.mul_(0.5))


class MemoryInPlace(TransformOf):
    __doc__ = TransformOf.__doc__

    @classmethod
    def stack(cls, values):
        def update(state, weights, moment):
            return {name: value.lerp_(weights[name], 0.5) for name, value in state.items()}

        return Hooks(memory=Memory(init=dict, update=update))


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


class FloodsAllTogether(TransformOf):
    __doc__ = TransformOf.__doc__

    @classmethod
    def stack(cls, values):
        return Hooks(mean=lambda means: means.mean().expand_as(means) + 0 * means)


class OneSlopeForTheBatch(TransformOf):
    __doc__ = TransformOf.__doc__

    @classmethod
    def stack(cls, values):
        return Hooks(slope=lambda slopes: slopes.square().sum((0, 2, 3, 4)))


class NoiseOfTorch(TransformOf):
    __doc__ = TransformOf.__doc__

    @classmethod
    def stack(cls, values):
        def noise(gradients, count, normal):
            return {name: gradient + torch.randn_like(gradient) for name, gradient in gradients.items()}

        return Hooks(noise=noise)


class OneMemory(TransformOf):
    __doc__ = TransformOf.__doc__

    @classmethod
    def stack(cls, values):
        def init(weights):
            return {"mean": torch.zeros(7)}

        return Hooks(memory=Memory(init=init, update=lambda state, weights, moment: dict(state)))


class AnewForAll(TransformOf):
    __doc__ = TransformOf.__doc__

    @classmethod
    def stack(cls, values):
        def update(state, weights, count):
            return {name: weights[name] for name in state}

        return Hooks(memory=Memory(init=dict, update=update, anew=lambda count: [True] * len(values)))


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
        (TwiceTheStep, "does not reach the minimum of penalty"),
        (OneStepForAll, "does not reach the minimum of penalty"),
        (MixesRuns, "depends on the runs beside it"),
        (NoExample, "give one value at least"),
        (Unfinished, "is not registered: it does not say examples, legend, stack"),
        (OneNumberForAll, r"penalty of .*: gives \(1,\), and should give \(3,\)"),
        (
            RowsOfEverything,
            r"penalty of conv.bias: raised .* for tensors of shape \(3, 4\)\. The runs stand first",
        ),
        (InPlace, "transform: changes its input in place"),
        (LossInPlace, "loss: changes its input in place"),
        (MemoryInPlace, "memory.update: changes its input in place"),
        (HiddenState, "another output at the second call"),
        (NormOfTheStack, "depends on the runs beside it"),
        (ForgetsNames, "returns other names than it is given"),
        (MultipliesByAMask, "with strength: 0 it changes something"),
        (FloodsAllTogether, "mean: a run's value depends on the runs beside it"),
        (OneSlopeForTheBatch, r"slope: gives \(3,\), and should give \(B, R\)"),
        (NoiseOfTorch, "noise at step 1, a number, of conv.weight: another output at the second call"),
        (OneMemory, r"mean is \(7,\), and should be \(R, …\)"),
        (AnewForAll, r"memory.anew after step 2: changes a run that lacks the technique"),
        (NoDocstring, "docstring"),
        (DoesNothing, "changes nothing in any hook"),
        (WrongDerivative, "is not the derivative of the penalty"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_mistake_is_named(kind, words):
    with pytest.raises(AssertionError, match=words):
        held_to_all(kind)
