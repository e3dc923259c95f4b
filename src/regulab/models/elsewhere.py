"""Builds a person's network in another process, where anything that depends on the process would show.

The order of a set of words, ``hash``, ``id``, the clock and the process's number are the same for two networks that one
process builds at once, but different tomorrow.
"""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from collections.abc import Iterable

import numpy as np
from torch import Tensor

from regulab.config import Model
from regulab.streams import Streams

TIMES = {"time", "datetime", "uuid", "secrets", "tempfile", "socket"}
BUILTINS = {"set", "frozenset", "hash", "id"}
OF_OS = {"getpid", "urandom", "times", "getppid"}
PATIENCE = 600  # seconds
PROGRAM = """
import io, sys
import numpy, torch
from regulab import models
from regulab.config import Model
from regulab.streams import Streams
out = sys.stdout
sys.path[:] = {path!r}
images = torch.from_numpy(numpy.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False))
module = models.build(Model.model_validate_json({model!r}), {channels}, {classes}, Streams(*{streams!r}), images)
print(models.weights_hash(module), models.buffers_hash(module), file=out)
"""


def may_differ(sources: Iterable[bytes]) -> bool:
    """Whether Python sources use anything that may differ in another process."""
    return any(_suspicious(node) for source in sources for node in _nodes(source))


def _nodes(source: bytes) -> Iterable[ast.AST]:
    try:
        return ast.walk(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError):
        return ()


def _suspicious(node: ast.AST) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Import):
        return any(alias.name in TIMES for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module in TIMES or (node.module == "os" and any(a.name in OF_OS for a in node.names))
    if isinstance(node, ast.Attribute):
        return node.attr in OF_OS
    return isinstance(node, ast.Name) and node.id in BUILTINS


def hashes_elsewhere(model: Model, channels: int, classes: int, streams: Streams, images: Tensor) -> str:
    """Hashes of parameters and buffers of the network of a seed, built in a process with another hash seed.

    Empty where that process fails: whatever is wrong has then shown itself here already, or is due to the machine.
    """
    program = PROGRAM.format(
        path=sys.path,
        model=model.model_dump_json(),
        channels=channels,
        classes=classes,
        streams=(streams.study, streams.seed, streams.arm),
    )
    sent = io.BytesIO()
    np.save(sent, images.numpy())
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=sent.getvalue(),
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": other, "PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=PATIENCE,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""
