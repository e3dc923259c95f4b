"""Global average pooling."""

from __future__ import annotations

from torch import Tensor


def mean_over_map(x: Tensor) -> Tensor:
    """``(B, C, H, W)`` to the means ``(B, C)``.

    Of what a fleet's kernels gave, it is taken over the memory as it lies: the same sums, but then the gradient comes
    in channels-last memory, too, where autograd's would first be spread row-major and then turned (0.2 of 13 ms of a
    step). Other layers may add up gradients of another layout in another order, so theirs stays as it always was.
    """
    if reads_channels_last(x):
        return x.movedim(1, -1).mean((1, 2))
    return x.mean((2, 3))


def reads_channels_last(x: Tensor) -> bool:
    """Whether the operation that gave ``x`` takes its gradient in channels-last memory and turns any other."""
    operation = getattr(x.grad_fn, "_forward_cls", None)  # of torch.autograd.Function's subclasses
    # Compared, not made a bool: where torch.fx follows a network it gets a stand-in, which is no True.
    return getattr(operation, "reads_channels_last", False) is True
