"""Torch's functions as one run among several calls them inside vmap: keyed draws, lower precision, rules for all runs.

What vmap does well by itself is left to it. Replaced is what it would refuse (recurrent layers, random numbers), what
it would do run by run (attention, weight norm), and what autocast does not reach, as it acts below vmap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from regulab.models.drawn_calls import attention_weights, without_dispatch
from regulab.models.layers.draws import UNBOUND, TorchDraws
from regulab.models.layers.dropout import SeveralRates
from regulab.training.across_runs import across_runs, run_by_run
from regulab.training.recurrences import CELLS, one_step, recurrent
from regulab.training.run_dropout import Position, dropped_by_run

# fmt: off
LOWERED = {  # products, which autocast computes in the lower precision
    F.linear, F.bilinear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d,
    torch.matmul, torch.mm, torch.bmm, torch.mv, torch.addmm, torch.addmv, torch.baddbmm, torch.addbmm, torch.einsum,
    torch.chain_matmul, torch.conv1d, torch.conv2d, torch.conv3d, torch.conv_transpose1d, torch.conv_transpose2d,
    torch.conv_transpose3d, torch.prelu,
    *(getattr(torch.Tensor, name) for name in (
        "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "addmm", "addmv", "baddbmm", "addbmm")),
}
RAISED = {  # what autocast computes in float32 on a GPU, and vmap takes apart before autocast sees it
    torch.softmax, torch.log_softmax, torch.Tensor.softmax, torch.Tensor.log_softmax, torch.layer_norm,
    torch.group_norm, torch.logsumexp, torch.Tensor.logsumexp, torch.cosine_similarity,
}
ON_A_PROCESSOR = {  # faster run by run than for all runs together: benchmarks/engines.md
    torch.conv1d, torch.conv2d, torch.conv3d, torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d,
    F.batch_norm,
}
DRAWS = {
    torch.rand, torch.randn, torch.randint, torch.randperm, torch.rand_like, torch.randn_like, torch.randint_like,
    torch.normal, torch.bernoulli, torch.multinomial, torch.poisson, torch.Tensor.bernoulli, torch.Tensor.multinomial,
    torch.rrelu, *(getattr(torch.Tensor, name + "_") for name in (
        "bernoulli", "uniform", "normal", "exponential", "random", "log_normal", "cauchy", "geometric")),
}
# fmt: on
MADE = {torch.empty, torch.zeros}
DROPOUTS = {F.dropout, torch.dropout}
RECURRENT = {getattr(torch, kind): kind for kind in CELLS}
ONE_STEP = {getattr(torch, f"{kind}_cell"): cell for kind, cell in CELLS.items()}
BIASES = 3  # position of has_biases among a recurrent function's arguments


OPENED = (F.multi_head_attention_forward, F.gumbel_softmax)  # one drops out within, the other draws


class RateOfRuns(SeveralRates):
    """A dropout rate that is another in each run, for torch's layers that hand theirs on."""

    rates: Sequence[float]
    position: Position

    @classmethod
    def of(cls, rates: Sequence[float], position: Position) -> Self:
        made = cls(max(rates))
        made.rates, made.position = list(rates), position
        return made

    def drop(self, x: Tensor, draws: Tensor) -> Tensor:
        return dropped_by_run(x, draws, self.rates, self.position)


class RunFunctions(TorchFunctionMode):
    """While active inside vmap, ``run`` is the run's position as each run sees it.

    ``lower``: the type of products where parameters are float32, or None; ``draws``: where torch's draws come from.
    """

    def __init__(self, run: Tensor, lower: torch.dtype | None, draws: TorchDraws) -> None:
        super().__init__()
        self._run, self._lower, self._draws = run, lower, draws

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in DRAWS:
            return self._drawn(func, args, kwargs)
        if func in MADE:  # to be written into, with what differs by run
            return across_runs(_repeated, self._run, func(*args, **kwargs))
        if func in DROPOUTS:
            return self._dropout(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._attention(*args, **kwargs)
        if func in RECURRENT:
            with self:
                return self._recurrent(func, *args, **kwargs)
        if func is torch.Tensor.__setitem__ and _is_mask(args[1], args[2]):
            x, mask, value = args
            return x.masked_fill_(mask.view(*mask.shape, *[1] * (x.ndim - mask.ndim)), value)
        if isinstance(kwargs.get("out"), Tensor):
            with self:
                out: Tensor = kwargs.pop("out")
                return out.copy_(func(*args, **kwargs))
        if func in ONE_STEP:
            with self:
                return one_step(ONE_STEP[func], *args, **kwargs)
        if func is F.linear:
            return self._linear(*args, **kwargs)
        if func is F.layer_norm and (given := _norm_arguments(*args, **kwargs)) is not None:
            return self._layer_norm(*given)
        if func is torch._weight_norm:
            return _weight_norm(*args, **kwargs)
        if self._lower is not None and func in LOWERED:
            args, kwargs = _cast((args, kwargs), self._lower)
        elif self._lower is not None and self._run.is_cuda and func in RAISED:
            args, kwargs = _cast((args, kwargs), torch.float32)
        if func in ON_A_PROCESSOR and not self._run.is_cuda:
            return run_by_run(func, self._run, args, kwargs)
        if func is F.batch_norm:
            return _batch_norm(self._run, *args, **kwargs)
        if func in OPENED:
            with self:
                return without_dispatch(func)(*args, **kwargs)
        return func(*args, **kwargs)

    def _drawn(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> Tensor:
        """What each run gets from torch's generator at its place: of any function that draws."""
        assert self._draws.source is not None, UNBOUND
        source = self._draws.source
        leaves, form = tree_flatten((args, dict(kwargs)))
        places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        in_place = func.__name__.endswith("_")

        def rule(_runs: int, tensors: Sequence[Tensor | None]) -> Tensor:
            def one_run(run: int) -> Tensor:
                own = list(leaves)
                for place, tensor in zip(places, tensors[1:], strict=True):
                    assert tensor is not None
                    own[place] = tensor[run].detach().clone(memory_format=torch.contiguous_format)
                given, named = tree_unflatten(own, form)
                drawn: Tensor = func(*given, **named)
                return drawn

            return source.draw(one_run)

        drawn = across_runs(rule, self._run, *(leaves[place] for place in places))
        result: Tensor = args[0].copy_(drawn) if in_place else drawn
        return result

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        """Torch's own dropout, with the draws that a run gets alone."""
        rates = p.rates if isinstance(p, RateOfRuns) else None
        if not training or not p:
            return input
        assert self._draws.source is not None, UNBOUND
        source = self._draws.source

        def rule(_runs: int, tensors: Sequence[Tensor | None]) -> Tensor:
            _, x = tensors
            assert x is not None
            ones = torch.ones(x.shape[1:], dtype=x.dtype, device=x.device)
            return source.draw(lambda run: F.dropout(ones, p if rates is None else rates[run]))

        kept = across_runs(rule, self._run, input)
        return input.mul_(kept) if inplace else input * kept

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """x·Wᵀ + b of all runs as one batched product that begins with b, where vmap would add b afterwards."""
        if self._lower is not None:
            input, weight, bias = _cast((input, weight, bias), self._lower)
        if input.ndim < 2 or weight.ndim != 2:
            y: Tensor = F.linear(input, weight, bias)
            return y

        def rule(_runs: int, tensors: Sequence[Tensor | None]) -> Tensor:
            _, x, w, b = tensors
            assert x is not None
            assert w is not None
            flat = x.flatten(1, -2)
            y = torch.bmm(flat, w.mT) if b is None else torch.baddbmm(b[:, None], flat, w.mT)
            return torch.unflatten(y, 1, input.shape[:-1])

        return across_runs(rule, self._run, input, weight, bias)

    def _layer_norm(
        self, x: Tensor, shape: Sequence[int], weight: Tensor, bias: Tensor, eps: float
    ) -> Tensor:
        """γ·(x − mean)/σ + β in two passes over x, where vmap would take three."""
        if self._lower is not None and x.is_cuda:
            x = x.float()
        y = F.layer_norm(x, tuple(shape), eps=eps)
        scaled: Tensor = torch.addcmul(bias, weight, y).to(x.dtype)
        return scaled

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """softmax(q·kᵀ·scale + mask)·v: of all runs at once, as further images; written out where it drops out."""
        if self._lower is not None:
            query, key, value = _cast((query, key, value), self._lower)
            attn_mask = _cast(attn_mask, self._lower)
        if not dropout_p and attn_mask is None:

            def rule(_runs: int, tensors: Sequence[Tensor | None]) -> Tensor:
                q, k, v = (part.flatten(0, 1) for part in tensors[1:] if part is not None)
                y: Tensor = F.scaled_dot_product_attention(
                    q, k, v, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
                )
                return torch.unflatten(y, 0, (-1, query.shape[0]))

            if query.ndim == key.ndim == value.ndim == 4:
                return across_runs(rule, self._run, query, key, value)
        weights, value = attention_weights(query, key, value, attn_mask, is_causal, scale, enable_gqa)
        return self._dropout(weights, dropout_p) @ value

    def _recurrent(self, function: Any, *args: Any) -> Any:
        """``(input, hx, weights, has_biases, layers, dropout, train, bidirectional, batch_first)``, as in torch."""
        if not isinstance(args[BIASES], bool):
            raise NotImplementedError("recurrent layers over packed sequences")
        if self._lower is not None:
            args = _cast(args, self._lower)
        x, first, weights, biases, layers, rate, training, bidirectional, batch_first = args
        start = tuple(first) if isinstance(first, tuple | list) else (first,)
        directions = 2 if bidirectional else 1
        each, last = len(weights) // layers, []
        x = x.transpose(0, 1) if batch_first else x  # as torch has it where it draws
        for layer in range(layers):
            if layer:
                x = self._dropout(x, rate, training)
            own = weights[layer * each : (layer + 1) * each]
            begin = tuple(part[layer * directions : (layer + 1) * directions] for part in start)
            x, *states = self._one_layer(function, x, begin, own, biases, bidirectional)
            last.append(states)
        y = x.transpose(0, 1) if batch_first else x
        return y, *(torch.cat(parts) for parts in zip(*last, strict=True))

    def _one_layer(
        self,
        function: Any,
        x: Tensor,
        start: Sequence[Tensor],
        weights: Sequence[Tensor],
        biases: bool,
        bidirectional: bool,
    ) -> Any:
        """On a processor torch's own, run by run: a quarter of the time of its steps written out."""
        if self._run.is_cuda:
            return recurrent(RECURRENT[function], x, start, weights, biases, bidirectional)
        first = start if function is torch.lstm else start[0]
        settings = (biases, 1, 0.0, True, bidirectional, False)
        return run_by_run(function, self._run, (x, first, weights, *settings), {})


def _is_mask(index: Any, value: Any) -> bool:
    """Whether ``x[index] = value`` sets a number where a condition holds."""
    return isinstance(index, Tensor) and index.dtype == torch.bool and isinstance(value, int | float)


def _norm_arguments(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Sequence[int], Tensor, Tensor, float] | None:
    """Of a layer norm with γ and β."""
    return None if weight is None or bias is None else (input, normalized_shape, weight, bias, eps)


def _batch_norm(
    run: Tensor,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Of R·C channels, with γ, β and statistics in float32; vmap itself takes no type but the input's."""

    def rule(runs: int, tensors: Sequence[Tensor | None]) -> Tensor:
        x, mean, variance, w, b = (None if part is None else part.contiguous() for part in tensors[1:])
        assert x is not None
        means, variances, w, b = (None if part is None else part.view(-1) for part in (mean, variance, w, b))
        channels = x.transpose(0, 1).flatten(1, 2)
        y = F.batch_norm(channels, means, variances, w, b, training, momentum, eps)
        for was, now in ((tensors[2], mean), (tensors[3], variance)):
            if was is not None and now is not None and now is not was:
                was.copy_(now)
        return torch.unflatten(y, 1, (runs, -1)).transpose(0, 1)

    return across_runs(rule, run, input, running_mean, running_var, weight, bias)


def _repeated(runs: int, tensors: Sequence[Tensor | None]) -> Tensor:
    _, tensor = tensors
    assert tensor is not None
    return tensor.expand(runs, *tensor.shape[1:]).clone()


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """w = g·v/‖v‖, the norm over all axes but ``dim``, or over all (−1). Source: Salimans & Kingma 2016."""
    axes = [axis for axis in range(v.ndim) if axis != dim]
    return v * (g / v.square().sum(axes, keepdim=True).sqrt())


def _cast(values: Any, dtype: torch.dtype) -> Any:
    """Tensors in floating point as ``dtype``, but for float64, which autocast leaves alone, too."""
    other = {torch.float32, torch.float16, torch.bfloat16} - {dtype}
    return tree_map(
        lambda one: one.to(dtype) if isinstance(one, Tensor) and one.dtype in other else one, values
    )
