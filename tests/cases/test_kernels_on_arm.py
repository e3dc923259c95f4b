"""Kernels cross-compiled for ARM compute what this processor's do: a chain of blocks there and back, emulated."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from regulab.training.kernels.compiling import compiler
from regulab.training.kernels.levels import LADDERS, PLAIN
from regulab.training.kernels.processor import Processor
from regulab.training.kernels.recipes import SOURCE, portable

GCC, CLANG = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("clang")
EMULATOR = shutil.which("qemu-aarch64-static")
COMPILERS = {
    "gcc": [GCC],
    "clang": [CLANG, "--target=aarch64-linux-gnu"],
}
ARM = Processor("aarch64", "0x41", frozenset({"asimd"}), b"ARM")
PLAINEST = Processor("any", "any", frozenset(), b"any")

PROGRAM = """
#include <stdio.h>
#include "between.c"

static uint32_t state = 1;
static float uniform(void) { return (float)((int32_t)(state = state * 1664525u + 1013904223u) >> 8) / (1 << 22); }
static float *drawn(int64_t n) {
    float *v = malloc(n * sizeof(float));
    for (int64_t i = 0; i < n; i++) v[i] = rounded(uniform());
    return v;
}
static T *map(int64_t n) {
    T *v = malloc(n * sizeof(T));
    for (int64_t i = 0; i < n; i++) {
        float value = rounded(uniform());
        uint32_t bits;
        memcpy(&bits, &value, 4);
        if (sizeof(T) == 4) memcpy(v + i, &value, 4);
        else v[i] = (T)(bits >> 16);
    }
    return v;
}
static void print(const float *v, int64_t n) { for (int64_t i = 0; i < n; i++) printf("%.9g\\n", v[i]); }
static void print_map(const T *v, int64_t n) { for (int64_t i = 0; i < n; i++) printf("%.9g\\n", widened(v[i])); }

int main(void) {
    enum { COUNT = 3, RUNS = 2, IMAGES = 5 };
    Shape shapes[COUNT] = {{IMAGES, 12, 8, RUNS, 16, 2, 1, 0, 1}, {IMAGES, 6, 4, RUNS, 16, 1, 16, 0, 1},
                           {IMAGES, 6, 4, RUNS, 5, 2, 16, 0, 1}};
    Block blocks[COUNT];
    float ones[RUNS * 16];
    for (int i = 0; i < RUNS * 16; i++) ones[i] = 1;
    for (int l = 0; l < COUNT; l++) {
        Shape s = shapes[l];
        int64_t K = RUNS * s.channels, weights = K * s.inputs * TAPS, values = IMAGES * RUNS * area(&s);
        blocks[l] = (Block){.shape = s, .image = l == 0, .weight = drawn(weights), .bias = drawn(K), .gamma = drawn(K),
                            .beta = drawn(K), .mean = drawn(K), .variance = drawn(K), .p = map(values),
                            .won = malloc(values), .scale = ones, .dweight = drawn(weights), .dbias = drawn(K),
                            .dgamma = drawn(K), .dbeta = drawn(K), .eps = 1e-3};
    }
    int64_t out = IMAGES * RUNS * area(shapes + COUNT - 1);
    T *x = map(IMAGES * 12 * 8 * RUNS), *y = map(out), *grad = map(out);
    for (int l = 1; l < COUNT; l++) if (!convolves(shapes + l)) return 2;
    if (forward_chain(blocks, COUNT, 1, x, y)) return 3;
    print_map(y, out);
    if (backward_chain(blocks, COUNT, grad, x, NULL)) return 4;
    for (int l = 0; l < COUNT; l++) {
        int64_t K = RUNS * shapes[l].channels;
        print(blocks[l].mean, K), print(blocks[l].variance, K), print(blocks[l].dgamma, K), print(blocks[l].dbeta, K);
        print(blocks[l].dweight, K * shapes[l].inputs * TAPS);
    }
    return 0;
}
"""


def printed(command, runner, recipe, folder):
    """What the program prints, compiled with a recipe's flags."""
    flags = [flag for flag in recipe.flags if flag not in ("-shared", "-fPIC", "-O3")]
    source = folder / "program.c"
    source.write_text(PROGRAM)
    made = [
        *command,
        *flags,
        "-O1",
        "-static",
        "-I",
        str(SOURCE.parent),
        str(source),
        "-o",
        str(folder / "program"),
        "-lm",
    ]
    subprocess.run(made, check=True, capture_output=True)
    said = subprocess.run([*runner, folder / "program"], check=True, capture_output=True, text=True).stdout
    return np.array(said.split(), dtype=np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", COMPILERS)
def test_arm_computes_the_same(name, bf16, tmp_path):
    if None in (compiler(), EMULATOR, *COMPILERS[name]) or GCC is None:  # whose libraries clang links to
        pytest.skip("no cross-compiler, or no emulator of ARM")
    (tmp_path / "here").mkdir()
    here = printed([compiler()], [], portable(PLAIN[0], PLAINEST, bf16, False), tmp_path / "here")
    there = printed(COMPILERS[name], [EMULATOR], portable(LADDERS["aarch64"][0], ARM, bf16, False), tmp_path)
    assert here.size == there.size > 1000
    assert np.isfinite(here).all()
    assert np.abs(here).max() > 0.1
    scale = np.abs(here).max()
    np.testing.assert_allclose(there, here, rtol=0, atol=(2e-2 if bf16 else 1e-5) * scale)
