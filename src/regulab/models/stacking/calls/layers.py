"""Functions that are layers: products with weights, convolutions, pooling, normalization, attention, dropout."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from regulab.models.drawn_calls import DROPOUTS, without_dispatch
from regulab.models.stacking.run_tensor import (
    RunTensor,
    aligned,
    by_run,
    first_run_tensor,
    in_general,
    linear_of_runs,
    named,
    place_in_code,
    rule_for,
    runs_first,
    side_by_side,
    with_runs_at,
)
from regulab.models.stacking.unstackable import Unstackable

POOLS = "max_pool avg_pool adaptive_max_pool adaptive_avg_pool lp_pool"
AXES = {
    function: n + 2
    for n in (1, 2, 3)
    for name in POOLS.split()
    for function in named(f"{name}{n}d {name}{n}d_with_indices", F, torch, torch._C._nn)
}


@rule_for(*AXES, F.interpolate, *named("upsample", F))
def channel_by_channel(func: Any, args: Any, kwargs: Any) -> Any:
    x, *rest = args if args else (kwargs.pop("input"),)
    if x.ndim != AXES.get(func, x.ndim) or x.ndim < 3:
        return in_general(func, (x, *rest), kwargs)
    y = func(side_by_side(x), *rest, **kwargs)
    return by_run(y, x.of) if isinstance(y, Tensor) else tuple(by_run(part, x.of) for part in y)


@rule_for(F.pad, *named("_pad", torch._C._nn))
def pad(func: Any, args: Any, kwargs: Any) -> Any:
    x, sizes, *_ = args
    mode = args[2] if len(args) > 2 else kwargs.get("mode", "constant")
    padded = len(sizes) // 2
    if mode == "constant":
        place = x.place if x.place <= x.ndim - padded else 0
        return RunTensor(func(with_runs_at(x, place), *args[1:], **kwargs), place, x.of)
    if padded != x.ndim - 2:
        return in_general(func, args, kwargs)
    return by_run(func(side_by_side(x), *args[1:], **kwargs), x.of)


def weights_of_runs(weight: Tensor, of: Any) -> Tensor:
    """``(R, *shape)``, also where all runs share the weights."""
    return runs_first(weight) if isinstance(weight, RunTensor) else weight.expand(of.runs, *weight.shape)


CONVOLUTIONS = {
    function: n for n in (1, 2, 3) for function in named(f"conv{n}d conv_transpose{n}d", F, torch)
}


@rule_for(*CONVOLUTIONS)
def convolution(func: Any, args: Any, kwargs: Any) -> Any:
    """R convolutions as one with R times as many groups."""
    given = dict(zip(("input", "weight", "bias"), args[:3], strict=False)) | kwargs
    x, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias", None)
    of = first_run_tensor((x, weight, bias), {}).of
    if x.ndim != CONVOLUTIONS[func] + 2 or not isinstance(x, RunTensor):
        return in_general(func, args, kwargs)
    rest = list(args[3:])
    if len(rest) > 3:
        rest[3] = rest[3] * of.runs
    else:
        given["groups"] = given.get("groups", 1) * of.runs
    together = weights_of_runs(weight, of).flatten(0, 1).to(x.dtype)
    if bias is not None:
        bias = weights_of_runs(bias, of).flatten().to(x.dtype)
    return by_run(func(side_by_side(x), together, bias, *rest, **given), of)


@rule_for(F.linear)
def linear(func: Any, args: Any, kwargs: Any) -> Any:
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    x, weight, bias = given["input"], given["weight"], given.get("bias")
    of = first_run_tensor((x, weight, bias), {}).of
    if not isinstance(weight, RunTensor) and not isinstance(bias, RunTensor):
        moved = with_runs_at(x, 0)
        return RunTensor(F.linear(moved.to(weight.dtype), weight, bias), 0, of)
    if weight.ndim != 2 or x.ndim < 1:
        return in_general(func, args, kwargs)
    own = None if bias is None else weights_of_runs(bias, of)
    return RunTensor(linear_of_runs(weights_of_runs(x, of), weights_of_runs(weight, of), own), 0, of)


@rule_for(*named("matmul bmm mm __matmul__", Tensor, torch), Tensor.__rmatmul__)
def matmul(func: Any, args: Any, kwargs: Any) -> Any:
    if kwargs or len(args) != 2 or min(a.ndim for a in args) < 2:
        return in_general(func, args, kwargs)
    x, y = reversed(args) if func is Tensor.__rmatmul__ else args
    of, dtype = first_run_tensor(args, {}).of, torch.promote_types(x.dtype, y.dtype)
    if y.ndim == 2 and isinstance(y, RunTensor) and isinstance(x, RunTensor):
        weight = runs_first(y).to(dtype).transpose(1, 2)
        return RunTensor(linear_of_runs(runs_first(x), weight, None), 0, of)
    ndim = max(x.ndim, y.ndim)
    a, b = (aligned(one, ndim, 0).to(dtype) for one in (x, y))
    return RunTensor(torch.matmul(a, b), 0, of)


@rule_for(F.layer_norm)
def layer_norm(func: Any, args: Any, kwargs: Any) -> Any:
    names = ("input", "normalized_shape", "weight", "bias", "eps")
    given = {"weight": None, "bias": None, "eps": 1e-5} | dict(zip(names, args, strict=False)) | kwargs
    x, shape = given["input"], list(given["normalized_shape"])
    if not isinstance(x, RunTensor):
        return in_general(func, args, kwargs)
    moved = with_runs_at(x, x.place if x.place <= x.ndim - len(shape) else 0)
    exact = moved.to(torch.promote_types(x.dtype, torch.float32))  # rounded once, at the end
    y: Tensor = RunTensor(
        F.layer_norm(exact, shape, eps=given["eps"]), 0 if moved is not x.runs else x.place, x.of
    )
    for parameter, combine in ((given["weight"], torch.mul), (given["bias"], torch.add)):
        y = y if parameter is None else combine(y, parameter)
    return y.to(x.dtype)


@rule_for(F.batch_norm)
def batch_norm(func: Any, args: Any, kwargs: Any) -> Any:
    """Running averages that belong to the runs are updated in place."""
    names = ("input", "running_mean", "running_var", "weight", "bias")
    given = dict.fromkeys(names[1:]) | dict(zip(names, args, strict=False)) | kwargs
    x = given.pop("input")
    vectors = [given.pop(name) for name in names[1:]]
    if (
        not isinstance(x, RunTensor)
        or x.ndim < 2
        or any(isinstance(v, Tensor) and not isinstance(v, RunTensor) for v in vectors)
    ):
        return in_general(func, args, kwargs)
    mean, variance = (None if v is None else runs_first(v).view(-1) for v in vectors[:2])
    weight, bias = (None if v is None else runs_first(v).flatten().contiguous() for v in vectors[2:])
    y = F.batch_norm(side_by_side(x), mean, variance, weight, bias, *args[5:], **given)
    return by_run(y, x.of)


@rule_for(F.scaled_dot_product_attention)
def attention(func: Any, args: Any, kwargs: Any) -> Any:
    """Of ``(…, heads, N, d)``: runs and images as one axis."""
    of = first_run_tensor(args, kwargs).of
    if of.calls is not None:
        answer = of.calls.answer(func, args, kwargs)
        if answer is not None:
            return answer
    given = dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)) | kwargs
    parts = [given.pop(name) for name in ("query", "key", "value")]
    mask = given.pop("attn_mask", None)
    ndim = parts[0].ndim
    if (
        isinstance(mask, RunTensor)
        or (mask is not None and mask.ndim > 2)
        or any(not isinstance(part, RunTensor) or part.ndim != ndim for part in parts)
        or ndim < 3
    ):
        return in_general(func, args, kwargs)
    images = parts[0].shape[0]
    q, k, v = (runs_first(part).flatten(0, 1) for part in parts)
    y = F.scaled_dot_product_attention(q, k, v, mask, *args[4:], **given)
    return RunTensor(y.unflatten(0, (of.runs, images)), 0, of)


@rule_for(F.multi_head_attention_forward)
def by_its_parts(func: Any, args: Any, kwargs: Any) -> Any:
    return without_dispatch(func)(*args, **kwargs)


@rule_for(*DROPOUTS)
def dropout(func: Any, args: Any, kwargs: Any) -> Any:
    of = first_run_tensor(args, kwargs).of
    if of.calls is not None:
        answer = of.calls.answer(func, args, kwargs)
        if answer is not None:
            return answer
    call = DROPOUTS[func].read(args, kwargs)
    if not 0 <= call.rate <= 1:
        return in_general(func, args, kwargs)  # for torch's own words
    if not call.drops or call.rate == 0:
        return call.x
    if call.rate == 1:
        return call.x.mul_(0) if call.inplace else call.x * 0
    raise Unstackable(f"{place_in_code()}`{func.__name__}` drops in inference")
