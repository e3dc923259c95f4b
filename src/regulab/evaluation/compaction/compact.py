"""From exact zeros to a smaller network that gives the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from regulab.errors import UserError
from regulab.evaluation.compaction.channels import Followed, follow
from regulab.evaluation.compaction.folding import fold_batch_norms
from regulab.evaluation.compaction.graph import graph_of
from regulab.evaluation.compaction.liveness import Kept, kept_channels
from regulab.evaluation.compaction.naming import place_of
from regulab.evaluation.compaction.plain_layers import with_plain_layers
from regulab.evaluation.compaction.smaller import smaller_network

ALLOWED = {torch.float64: 1e-10, torch.float32: 1e-4}  # of the largest output: what rounding may change
ALLOWED_OTHERWISE = 0.05


@dataclass(frozen=True)
class Width:
    """Outputs of a convolution or linear layer, before and after; ``zero``: filters of which every weight is 0."""

    layer: str
    before: int
    after: int
    zero: int


@dataclass(frozen=True)
class Held:
    """A layer because of which channels stay, and how many of those are constant, so that they could have gone."""

    layer: str
    reason: str
    channels: int


@dataclass(frozen=True)
class Compaction:
    """What `compact` did. ``parameters``: before and after; ``unfolded``: batch norms that could not be folded."""

    parameters: tuple[int, int]
    widths: tuple[Width, ...]
    held: tuple[Held, ...]
    unfolded: tuple[tuple[str, str], ...] = ()


def compact(
    network: nn.Module, example: Tensor, *, fold_batch_norm: bool = False
) -> tuple[fx.GraphModule, Compaction]:
    """A smaller network that gives the same for images of the size of ``example`` ``(B, C, H, W)``, in inference mode.

    A channel goes if nothing reads it (every weight on it is 0), or if it is the same for every image and place
    (its filter is 0 throughout, or the norm's γ is): what it adds is then added to the biases of the layers that read
    it. Behind zero padding a constant other than 0 has an edge; of such channels one stays for all. Sums keep a channel
    that one of their parts needs; a group norm keeps whole groups; what is not known to treat channels one by
    one keeps all, and is named in the report. ``fold_batch_norm`` writes batch norms into the layer before them.

    ``network`` stays as it is. The result is on the CPU, of torch's own layers with flat names, without gradients or
    training mode; beside rounding it gives the same, which is checked. Raises `UserError` where the forward pass
    cannot be followed or does not repeat itself, and where the check fails.
    """
    graph = graph_of(network, example)
    followed = follow(graph)
    kept = kept_channels(followed)
    smaller = smaller_network(kept)
    unfolded = tuple(fold_batch_norms(smaller)) if fold_batch_norm else ()
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), example.dtype)
    smaller = smaller.to(dtype)
    _refuse_other_outputs(network, smaller, torch.cat([graph.probe.to(dtype), example[:16].cpu().to(dtype)]))
    parameters = (sum(p.numel() for p in network.parameters()), sum(p.numel() for p in smaller.parameters()))
    return smaller, Compaction(parameters, _widths(kept), _held(followed), unfolded)


def _widths(kept: Kept) -> tuple[Width, ...]:
    found = {}
    for reader in kept.followed.readers:
        if reader.kind != "group norm":
            mask, weight = kept.mask(reader.outputs), reader.layer.weight.detach().flatten(1)
            zero = int((weight == 0).all(1).sum())
            found[place_of(reader.node)] = Width(place_of(reader.node), len(mask), int(mask.sum()), zero)
    return tuple(found.values())


def _held(followed: Followed) -> tuple[Held, ...]:
    """The layers that hold channels back. Constant: in one of the tensors that a channel is part of."""
    constant: set[int] = set()
    for channels in followed.channels.values():
        constant |= {int(one) for one in channels.ids[channels.constant]}
    counts: dict[tuple[str, str], int] = {}
    for atom, why in followed.atoms.held.items():
        if why[1]:
            counts[why] = counts.get(why, 0) + (atom in constant)
    return tuple(Held(layer, reason, count) for (layer, reason), count in counts.items())


def _refuse_other_outputs(network: nn.Module, smaller: nn.Module, images: Tensor) -> None:
    """The last line of defence: what is not the same is not handed out."""
    with torch.no_grad():
        wanted, given = with_plain_layers(network)(images), smaller(images)
    allowed = ALLOWED.get(wanted.dtype, ALLOWED_OTHERWISE) * max(1.0, float(wanted.abs().max()))
    difference = float((wanted - given).abs().max()) if wanted.shape == given.shape else float("inf")
    if not difference <= allowed:
        raise UserError(
            "the smaller network would give other outputs",
            got=f"a difference of {difference:.3g}",
            expected=f"at most {allowed:.3g}",
            where=type(network).__name__,
        )
