"""Networks as people write them: written for regulab from the layers and patterns that public code uses.

Each is named as a study file names a person's network, ``FILE:NAME``; it takes images of `shape`. None of them knows of
regulab.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent

COURSE: dict[str, str] = {
    "big kernel at the end": "course.py:BigKernelAtTheEnd",
    "blocks, 1×1 and average pooling": "course.py:BlocksAndPooling",
    "ten layers and squeeze": "course.py:TenLayers",
    "first example": "course.py:FirstExample",
    "older example": "course.py:OlderExample",
    "perceptron with batch norm": "course.py:NormalizedPerceptron",
    "perceptron": "course.py:PlainPerceptron",
    "LeNet": "course.py:LeNet",
    "counted features": "course.py:CountingFeatures",
    "softmax regression": "course.py:Regression",
    "two blocks": "course.py:TwoLayerBlocks",
    "three norms": "course.py:ThreeNorms",
    "a sequence of layers": "course.py:sequence",
}
OTHERS: dict[str, str] = {
    "residual": "residual.py:residual",
    "bottleneck": "residual.py:bottleneck",
    "grouped bottleneck": "residual.py:grouped",
    "pre-activated": "residual.py:pre_activated",
    "wide, with dropout": "residual.py:wide",
    "shortcut padded with zeros": "residual.py:padded_shortcut",
    "squeeze and excite": "residual.py:squeezed",
    "highway": "residual.py:highway",
    "learned scales": "residual.py:scaled",
    "stochastic depth": "residual.py:drop_path",
    "dense": "residual.py:Dense",
    "dual path": "residual.py:DualPath",
    "two scales": "residual.py:TwoScales",
    "inverted residual": "mobile.py:inverted",
    "depthwise separable": "mobile.py:separable",
    "channel shuffle": "mobile.py:shuffled",
    "channel split": "mobile.py:split",
    "fire": "mobile.py:Fires",
    "ghost": "mobile.py:ghost",
    "efficient": "mobile.py:efficient",
    "mixture of experts": "mobile.py:experts",
    "from a list of widths": "classic.py:Configured",
    "all convolutional": "classic.py:all_convolutional",
    "inception": "classic.py:Inception",
    "dilated, reflected": "classic.py:dilated",
    "U-net": "classic.py:Unet",
    "learned slopes": "classic.py:slopes",
    "maxout": "classic.py:Maxout",
    "attention to channels and places": "classic.py:Attention2d",
    "spectral norm": "classic.py:spectral",
    "weight norm": "classic.py:weight_normed",
    "embedded pixels": "classic.py:Embedded",
    "convolutions over rows": "classic.py:Rows",
    "spatial transformer": "classic.py:Turned",
    "gated": "classic.py:gated",
    "self-normalizing": "classic.py:self_normalizing",
    "local response": "classic.py:responding",
    "coordinates": "classic.py:Coordinates",
    "cosine scores": "classic.py:Cosine",
    "vision transformer": "tokens.py:VisionTransformer",
    "attention by hand": "tokens.py:HandWrittenTransformer",
    "fused attention": "tokens.py:Fused",
    "mixer": "tokens.py:Mixer",
    "ConvNeXt": "tokens.py:ConvNext",
    "non-local": "tokens.py:NonLocal",
    "sequence pooling": "tokens.py:SequencePooling",
    "linear attention": "tokens.py:Linear",
    "shifted windows": "tokens.py:Windows",
    "RNN over rows": "tokens.py:rnn",
    "LSTM over rows": "tokens.py:lstm",
    "GRU over rows": "tokens.py:gru",
    "cells over rows": "tokens.py:Cells",
    "recurrence by hand": "tokens.py:HandWrittenRecurrence",
    "numbers decide": "awkward.py:NumbersDecide",
    "hooks": "awkward.py:Hooked",
    "skips at random": "awkward.py:SkipsAtRandom",
    "noisy input": "awkward.py:NoisyInput",
    "counts its passes": "awkward.py:Counting",
    "tied weights": "awkward.py:Tied",
}
ZOO: dict[str, str] = {name: f"{HERE / place}" for name, place in (COURSE | OTHERS).items()}


def shape(name: str) -> tuple[int, int, int]:
    """``(C, H, W)`` of the images that a network is written for."""
    return (1, 28, 28) if name in COURSE else (3, 16, 16)
