"""Convolutions in float arithmetic, Winograd's, equal torch's in double, for every set of instructions."""

from __future__ import annotations

import ctypes
from functools import cache

import pytest
import torch
import torch.nn.functional as F

from regulab.training.kernels.blocks import Shape
from regulab.training.kernels.compiling import compiled, compiler
from regulab.training.kernels.levels import has, ladder_of
from regulab.training.kernels.processor import this_processor
from regulab.training.kernels.recipes import SOURCE, portable

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler")
TOLERANCE = 2e-6  # of the largest value
SHAPES = [
    (inputs, channels, size)
    for inputs, channels in ((16, 16), (8, 8), (1, 5), (10, 33), (24, 16), (64, 32), (33, 64))
    for size in ((14, 14), (7, 7), (1, 1), (2, 9), (5, 28))
]
ONE_IMAGE = """
#include "{folder}/vectors.h"
#include "{folder}/convolve.h"
static const Ahead nothing;

int convolve_image(const Shape *s, const float *taps, const float *x, const float *grads, float *y, float *dx,
                   float *dtaps) {{
    Workspace work;
    int64_t P = pitch(s), in = stride_in(s), out = stride_out(s), h = tall(s), w = wide(s);
    if (!takes(s) || open_workspace(s, &work)) return 1;
    void *arranged = aligned_alloc(64, 2 * arranged_size(s)), *turned = (char *)arranged + arranged_size(s);
    float *sums = calloc(weight_sums(s), sizeof(float));
    double *totals = calloc(weight_sums(s), sizeof(double));
    arrange(s, taps, 0, arranged);
    arrange(s, taps, 1, turned);
    for (int image = 0; image < 2; image++) {{ /* in the same workspace: its borders must have stayed 0 */
        for (int64_t q = 0; q < h * w; q++, x += s->inputs, grads += s->channels) {{
            memcpy(work.input + ((q / w + 1) * P + q % w + 1) * in, x, sizeof(float) * s->inputs);
            memcpy(work.grads + ((q / w + 1) * P + q % w + 1) * out, grads, sizeof(float) * s->channels);
        }}
        convolve(s, &work, arranged, &nothing);
        for (int64_t q = 0; q < h * w; q++, y += s->channels)
            memcpy(y, work.sums + (q / w * P + q % w) * out, sizeof(float) * s->channels);
        go_back(s, &work, turned, sums, 1, &nothing);
        for (int64_t q = 0; q < h * w; q++, dx += s->inputs)
            memcpy(dx, work.sums + (q / w * P + q % w) * in, sizeof(float) * s->inputs);
        memset(work.sums, 0xff, sizeof(float) * (h * P - 2) * (in < out ? in : out)); /* NaN: nothing of it is read */
    }}
    for (int64_t i = 0; i < weight_sums(s); i++) totals[i] = sums[i];
    finish_weights(s, totals, dtaps);
    close_workspace(&work), free(arranged), free(sums), free(totals);
    return 0;
}}
"""


def levels():
    """What this processor has; levels beyond AVX-512 do the same in float arithmetic."""
    processor = this_processor()
    found = [step for step in ladder_of(processor) if has(processor, step)]
    return [step for step in found if step.name not in ("avx512_bf16", "amx")]


@pytest.fixture(params=levels(), ids=lambda step: step.name, scope="module")
def kernel(request, tmp_path_factory):
    return kernel_for(request.param, tmp_path_factory.mktemp("kernel"))


@cache
def kernel_for(step, folder):
    source, program = folder / "one_image.c", compiler()
    source.write_text(ONE_IMAGE.format(folder=SOURCE.parent))
    assert program is not None
    content = compiled(program, list(portable(step, this_processor(), False, False).flags), source)
    library = folder / "one_image.so"
    library.write_bytes(content)
    return ctypes.CDLL(str(library))


def by_kernel(kernel, x, taps, grads):
    """What it makes of two images ``(2, H, W, C)`` and taps ``(3, 3, inputs, C)``: y, ∂L/∂x, and the taps' gradient."""
    y, dx, dtaps = torch.full_like(grads, 9.0), torch.full_like(x, 9.0), torch.full_like(taps, 9.0)
    _, h, w, inputs = x.shape
    shape = Shape(2, h, w, 1, taps.shape[3], 1, inputs, 0, 1)
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in (taps, x, grads, y, dx, dtaps)]
    assert kernel.convolve_image(ctypes.byref(shape), *pointers) == 0
    return y, dx, dtaps


def material(inputs, channels, size):
    """Off the origin, so that no term hides."""
    generator = torch.Generator().manual_seed(inputs + 100 * channels)
    x = torch.randn(2, *size, inputs, generator=generator) + 0.4
    taps = torch.randn(3, 3, inputs, channels, generator=generator) + 0.1
    return x, taps, torch.randn(2, *size, channels, generator=generator) - 0.2


@pytest.mark.parametrize(("inputs", "channels", "size"), SHAPES, ids=str)
def test_values_and_gradients_are_those_of_double(kernel, inputs, channels, size):
    x, taps, grads = material(inputs, channels, size)
    exact, weight = x.double().requires_grad_(), taps.double().requires_grad_()
    want = F.conv2d(exact.permute(0, 3, 1, 2), weight.permute(3, 2, 0, 1), padding=1).permute(0, 2, 3, 1)
    want.backward(grads.double())
    for got, expected in zip(by_kernel(kernel, x, taps, grads), (want, exact.grad, weight.grad), strict=True):
        assert (got.double() - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("poison", [float("nan"), float("inf")], ids=str)
def test_what_is_not_finite_is_seen_and_reaches_no_further_than_its_tiles(kernel, poison):
    x, taps, grads = material(16, 16, (14, 14))
    clean = by_kernel(kernel, x, taps, grads)
    x[0, 6, 6, 3] = poison
    y, dx, dtaps = by_kernel(kernel, x, taps, grads)
    assert not y[0, 5:8, 5:8].isfinite().any()  # all that see the place
    assert torch.equal(y[0, :4], clean[0][0, :4])  # tiles begin at even places: rows 4 to 7 are theirs
    assert torch.equal(y[1], clean[0][1])
    assert torch.equal(dx, clean[1])
    assert not dtaps[:, :, 3].isfinite().any()
    others = [channel for channel in range(16) if channel != 3]
    assert torch.equal(dtaps[:, :, others], clean[2][:, :, others])
