"""The kernels compile for GPUs that are not here: Triton's compiler needs none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed (it is for Linux alone)")
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PROGRAM = "import json, sys, gpu_bytes; print(json.dumps(gpu_bytes.compiled(int(sys.argv[1]))))"


@pytest.mark.slow
@pytest.mark.parametrize("capability", [75, 80, 90])
def test_kernels_compile_for_a_gpu_and_stay_in_its_registers(capability, tmp_path):
    """float16 for a T4, whose products need more registers than there are; bfloat16 for the others."""
    paths = os.pathsep.join([str(BENCHMARKS), *sys.path])
    own = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment = {**own, "PYTHONPATH": paths, "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM, str(capability)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    found = json.loads(said)
    assert set(found) == {
        "convolve", "pool", "statistics", "draw_keeps", "normalize", "gradient_sums", "taps_gradient", "map_gradient",
    }  # fmt: skip
    if capability >= 80:
        assert all(stack == 0 for _, _, stack in found.values()), found
        # Nothing that a pass over a map does for an element may take much: hashing in it took fifty instructions.
        assert found["normalize"][0] < 20
        assert found["gradient_sums"][0] < 45
        assert found["draw_keeps"][0] < 10
