"""Checkpoints: safetensors with a checksum over every byte of the file, since training would go on from any number.

The metadata's one entry begins with the SHA-256 of the file with zeros in its place, then the state as JSON. (One
entry, because safetensors writes several in any order, and the same content should give the same bytes.)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as save_safetensors

from regulab.errors import UserError
from regulab.run_directory.arrays import MOST_FILE, Array, parse_safetensors
from regulab.run_directory.places import read_file

UNKNOWN = "0" * 64
BEFORE = b'{"__metadata__":{"state":"'  # how the header begins, after the eight bytes of its length
PLACE = slice(8 + len(BEFORE), 8 + len(BEFORE) + len(UNKNOWN))
CURE = "a checkpoint as regulab wrote it; delete this file to train its fleet from the start"


def checkpoint_bytes(arrays: Mapping[str, Array], state: Mapping[str, Any]) -> bytes:
    """One file with the arrays, ``state`` and its checksum; the same bytes for the same content."""
    content = save_safetensors(dense(arrays), {"state": f"{UNKNOWN} {json.dumps(state)}"})
    assert content[8 : PLACE.start] == BEFORE, "the checksum has its place"
    return content[: PLACE.start] + _checksum(content) + content[PLACE.stop :]


def read_checkpoint(path: Path) -> tuple[dict[str, Array], dict[str, Any]] | None:
    """Arrays and state; None where there is no checkpoint. Raises `UserError` if a single bit is not as it was
    written."""
    content = read_file(path, MOST_FILE * 16)
    if content is None:
        return None
    if content[8 : PLACE.start] != BEFORE or not re.fullmatch(rb"[0-9a-f]{64}", content[PLACE]):
        raise UserError("damaged checkpoint (no checksum)", expected=CURE, where=str(path))
    if _checksum(content) != content[PLACE]:
        raise UserError("damaged checkpoint (its checksum differs)", expected=CURE, where=str(path))
    arrays = parse_safetensors(content, path, "damaged checkpoint")
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        state = json.loads(header["__metadata__"]["state"][len(UNKNOWN) :])
        if not isinstance(state, dict):
            raise ValueError("no state")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError("damaged checkpoint (no state)", expected=CURE, where=str(path)) from error
    return arrays, state


def dense(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Row-major arrays: safetensors 0.8 writes the memory of any other (channels-last weights) as it lies."""
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}


def _checksum(content: bytes) -> bytes:
    """In hexadecimal, of a file whose own checksum counts as zeros."""
    digest = hashlib.sha256(content[: PLACE.start] + UNKNOWN.encode())
    digest.update(memoryview(content)[PLACE.stop :])
    return digest.hexdigest().encode()
