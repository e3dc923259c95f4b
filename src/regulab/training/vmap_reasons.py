"""Why vmap does not take a network: one sentence with the line of the person's file, the cause and the cure."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch

import regulab
from regulab.models.guard import words_of

OURS = (Path(torch.__file__).parent, Path(regulab.__file__).parent)
# By what torch says: what the line does, and what to write instead.
CAUSES = {
    "data-dependent control flow": (
        "decides by a number that each run computes for itself",
        "write it without `if` on a tensor: torch.where(condition, a, b), or multiply with a mask",
    ),
    ".item()": (
        "turns a tensor into a Python number, which each run has another of",
        "keep it a tensor: no .item(), float(), int() or f-string of it",
    ),
    ".tolist()": ("turns a tensor into Python numbers", "keep it a tensor"),
    "inplace arithmetic": (
        "writes what differs by run into a tensor that all runs share",
        "make the tensor from the input (x.new_zeros(…), torch.zeros_like(x)), or write without in-place operations",
    ),
    "dynamic shape": (
        "gives each run a tensor of another size",
        "use torch.where or a mask instead of indexing with conditions",
    ),
    "randomness": (
        "draws random numbers in a way that regulab cannot key for several runs",
        "use torch.rand, torch.randn, torch.bernoulli or nn.Dropout",
    ),
    "data_ptr": ("asks for the memory of a tensor", "use the tensor's values"),
    "numpy": ("leaves torch for numpy", "use torch's function of the same name"),
    **dict.fromkeys(
        ("same dtype", "dtypes must be the same", "share same datatype"),
        (
            "mixes the images with a tensor of another type, or one that the network does not know of",
            "make it of the input's type (x.new_zeros(…), torch.zeros_like(x)), or in the constructor as a parameter, "
            "buffer or layer",
        ),
    ),
    "setup_context": (
        "calls a function with a gradient of its own that is not written for several runs (such as torch's sampling of "
        "Beta and Dirichlet)",
        "write it of torch's functions, or in the autograd.Function a setup_context and generate_vmap_rule = True",
    ),
    "packed sequences": ("feeds a packed sequence to a recurrent layer", "feed a tensor (B, T, F)"),
    "proj_size": ("has an LSTM with proj_size", "use a linear layer behind the LSTM"),
    "atching rule not implemented": (
        "calls a function that torch cannot vectorize over runs",
        "use another function for it",
    ),
}


def reason(error: BaseException) -> str:
    """What stops vmap, where, and the cure as far as it is known."""
    said = words_of(error)
    cause, cure = next((pair for words, pair in CAUSES.items() if words in said), ("", ""))
    place = _line(error)
    if not cause:
        return f"{place}: {said}" if place else said
    told = f"{place} {cause}" if place else f"it {cause}"
    if "atching rule not implemented for " in said:
        told += f" ({said.split('not implemented for ')[1].split(';')[0].split('. ')[0]})"
    return f"{told}; {cure}"


def _line(error: BaseException) -> str:
    """The innermost line outside of torch and regulab: ``nets.py, line 12 (`y = x.item()`),``."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if not any(file.is_relative_to(folder) for folder in OURS) and file.exists():
            return f"{file.name}, line {frame.lineno} (`{frame.line}`),"
    return ""
