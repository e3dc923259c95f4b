"""The compacted network as ONNX, checked with onnxruntime. Both come with the extra ``onnx``."""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, fx

from regulab.errors import UserError

ONNX = "model.onnx"
NEEDED = ("onnx", "onnxscript", "onnxruntime")
ALLOWED = 1e-4  # of the largest logit


def missing() -> list[str]:
    """The packages of the extra that are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def onnx_bytes(network: fx.GraphModule, images: Tensor) -> tuple[bytes, float]:
    """The file, for normalized images ``(B, C, H, W)`` of any number, and max |Δlogit| of onnxruntime against torch.

    Raises `UserError` where the exporter cannot write the network, or onnxruntime gives other logits.
    """
    import onnxruntime

    content = _exported(network, images[:2].float())
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    largest, difference = 1.0, 0.0
    for part in images.float().split(256):
        with torch.no_grad():
            wanted = network(part).numpy()
        given = session.run(None, {name: part.numpy()})[0]
        difference = max(difference, float(np.abs(given - wanted).max()))
        largest = max(largest, float(np.abs(wanted).max()))
    if not difference <= ALLOWED * largest:
        raise UserError(
            "onnxruntime gives other logits than torch",
            got=f"a difference of {difference:.3g}",
            expected=f"at most {ALLOWED * largest:.3g}",
            where=ONNX,
        )
    return content, difference


def _exported(network: fx.GraphModule, images: Tensor) -> bytes:
    import logging

    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")  # the exporter's, of its own parts
            file = Path(folder) / ONNX
            torch.onnx.export(
                network,
                (images.contiguous(),),
                str(file),
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            return file.read_bytes()
    except Exception as error:  # the exporter fails in many ways on what it does not know
        said = str(error).strip().partition("\n")[0][:300]
        raise UserError("the network cannot be written as ONNX", got=said, where=ONNX) from error
    finally:
        logger.setLevel(level)
