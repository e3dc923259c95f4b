"""What the kernels of a fleet's step on a GPU read, write and compute: counted from shapes, and compiled without a GPU.

For each kernel of cnn10k's five blocks the bytes of global memory, the instructions of the code that Triton makes for
the GPU, and the milliseconds that memory and arithmetic need at least: 4.2 TB/s measured copying on an H200, and its
132 × 4 schedulers at 1.7 GHz of 32 threads each. Loops count once, as if each program had one turn. The first kernels'
times followed from their instructions (normalizing 47 an element: 0.23 ms counted, 0.31 measured).

    python benchmarks/gpu_bytes.py --runs 128
    python benchmarks/gpu_bytes.py --compile 90
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BYTES_A_SECOND, THREADS_A_SECOND = 4.2e12, 132 * 4 * 1.7e9 * 32
CHANNELS, BATCH, TYPE = 16, 128, 2  # bytes of an activation
BLOCKS = (
    (28, 28, True),
    (14, 14, False),
    (14, 14, True),
    (7, 7, False),
    (7, 7, False),
)  # of MNIST, and who pools
POINTERS = {"keys_p": "i64", "step_p": "i64", "seed_p": "i64", "low_p": "i16", "won_p": "i8", "kept_p": "u8"}
MAPS = ("x_p", "y_p", "dx_p", "grad_p", "image_p", "taps_p")


@dataclass(frozen=True)
class Pass:
    """A kernel over one block's map: bytes an element of its (pooled) map before the present kernels and now."""

    kernel: str
    elements: int
    before: float
    now: float


def passes(runs: int, arms: int) -> Iterator[Pass]:
    """Of a step with dropout in every block. The image is read once for ``arms`` runs; taps and borders are small."""
    for number, (height, width, pools) in enumerate(BLOCKS):
        side = 2 if pools else 1
        elements = runs * CHANNELS * BATCH * (height // side) * (width // side)
        image = number == 0
        pixels = TYPE * 4 / CHANNELS  # of the image, for each pooled element of one channel
        bits = 1 / 8
        if image:
            yield Pass("convolve", elements, pixels + TYPE + 1, pixels / arms + TYPE + 1)
        elif pools:
            yield Pass("pool", elements, 4 * TYPE + TYPE + 1, 4 * TYPE + TYPE + 1)
        if pools:
            yield Pass("statistics", elements, TYPE, 0)  # taken where the map is written
        else:
            yield Pass("statistics", elements, TYPE, TYPE)
        yield Pass("draw_keeps", elements, 0, bits)
        yield Pass("normalize", elements, 2 * TYPE, 2 * TYPE + bits)
        yield Pass("gradient_sums", elements, 2 * TYPE, 2 * TYPE + bits)
        if image:
            yield Pass("taps_gradient", elements, 2 * TYPE + 1 + pixels, 2 * TYPE + 1 + pixels / arms + bits)
        else:
            written = TYPE * side**2 + (1 if pools else 0)
            yield Pass("map_gradient", elements, 2 * TYPE + written, 2 * TYPE + written + bits)


def totals(runs: int, arms: int) -> dict[str, tuple[int, float, float]]:
    """Of each kernel the elements of its passes in a step, and the bytes before and now."""
    found: dict[str, tuple[int, float, float]] = {}
    for one in passes(runs, arms):
        elements, before, now = found.get(one.kernel, (0, 0.0, 0.0))
        found[one.kernel] = (
            elements + one.elements,
            before + one.before * one.elements,
            now + one.now * one.elements,
        )
    return found


def compiled(capability: int) -> dict[str, tuple[float, int, int]]:
    """Of each kernel instructions an element of a tile, registers of a thread, and bytes spilled, for cnn10k's arms."""
    os.environ.pop("TRITON_INTERPRET", None)
    from regulab.training.kernels import gpu_images, gpu_maps
    from regulab.training.kernels.gpu_tiles import Tiles

    tiles = Tiles()
    tall, wide = tiles.of_map(2048)
    of_map, channels = {"P": tall, "COLS": wide}, {"C": CHANNELS}
    normed = {**channels, "DROPS": True, "BEFORE": False, **of_map}
    together = tiles.group_columns
    there, back = (
        tiles.of_images(together, size) for size in (tiles.image_elements, tiles.gradient_elements)
    )
    image = {"C": together, "INPUTS": 1, "CB": together, "PIXELS": 16}
    drawn = {"C": CHANNELS, "ARMS": 4, "P": tiles.drawn // 64, "BYTES": 64}
    summed = {**normed, "CHUNKS": tiles.strip}
    known = [
        (gpu_images.convolve, {**image, "P": there[0], "CHUNKS": tiles.image_strip}, there[2], there[0] * together),
        (gpu_maps.pool, {**of_map, "CHUNKS": tiles.strip}, tiles.warps, tiles.elements),
        (gpu_maps.statistics, {"BEFORE": False, **of_map, "CHUNKS": tiles.strip}, tiles.warps, tiles.elements),
        (gpu_maps.draw_keeps, drawn, tiles.warps, tiles.drawn * 8 * 4),
        (gpu_maps.normalize, normed, tiles.warps, tiles.elements),
        (gpu_maps.gradient_sums, summed, tiles.warps, tiles.elements),
        (gpu_maps.map_gradient, {**normed, "POOL": 1}, tiles.warps, tiles.elements),
        (
            gpu_images.taps_gradient,
            {**image, "RUN": CHANNELS, "DROPS": True, "P": back[0], "CHUNKS": tiles.gradient_strip},
            back[2],
            back[0] * together,
        ),
    ]  # fmt: skip
    return {
        kernel.fn.__name__: _counted(kernel, constants, warps, tile, capability)
        for kernel, constants, warps, tile in known
    }


def _counted(
    kernel: Any, constants: dict[str, Any], warps: int, tile: int, capability: int
) -> tuple[float, int, int]:
    import triton
    from triton.backends import nvidia
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    maps = "*bf16" if capability >= 80 else "*fp16"
    signature = {name: _type(name, constants, maps) for name in kernel.arg_names}
    # As when they are called with maps of 2048 columns: Triton tells multiples of 16 apart, for wide loads.
    aligned = [kind.startswith("*") or name in ("N", "K") for name, kind in signature.items()]
    attributes = {(place,): [["tt.divisibility", 16]] for place, it_is in enumerate(aligned) if it_is}
    source = ASTSource(kernel, signature, constexprs=constants, attrs=attributes)
    target = GPUTarget("cuda", capability, 32)
    made = triton.compile(source, target=target, options={"num_warps": warps})
    tools = Path(next(iter(nvidia.__path__))) / "bin"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(made.asm["cubin"])
        used = _said(tools / "cuobjdump", "-res-usage", file)
        code = _said(tools / "nvdisasm", "-c", file)
    registers, stack = (int(re.search(rf"{key}:(\d+)", used)[1]) for key in ("REG", "STACK"))  # type: ignore[index]
    instructions = len(re.findall(r"^\s+/\*[0-9a-f]+\*/\s+\S", code, re.MULTILINE))
    return instructions * warps * 32 / tile, registers, stack


def _type(name: str, constants: dict[str, Any], maps: str) -> str:
    if name in constants:
        return "constexpr"
    if name in MAPS:
        return maps
    if name.endswith("_p"):
        return f"*{POINTERS.get(name, 'fp32')}"
    return "fp32" if name == "eps" else "i32"


def _said(*words: object) -> str:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True).stdout


def table(runs: int, arms: int, capability: int | None) -> str:
    counted = compiled(capability) if capability else {}
    lines = [
        f"{runs} runs, batches of {BATCH}, {arms} arms a seed; MB a step and the ms that 4.2 TB/s take",
        f"{'kernel':<15}{'MB before':>10}{'MB now':>9}{'ms before':>11}{'ms now':>8}"
        + (f"{'instr.':>9}{'ms':>7}{'regs':>6}{'spill':>7}" if counted else ""),
    ]
    sums = [0.0, 0.0]
    for kernel, (_, before, now) in totals(runs, arms).items():
        sums = [sums[0] + before, sums[1] + now]
        cells = f"{kernel:<15}{before / 1e6:10,.0f}{now / 1e6:9,.0f}{_ms(before):11.3f}{_ms(now):8.3f}"
        if kernel in counted:
            each, registers, stack = counted[kernel]
            left = sum(one.elements for one in passes(runs, arms) if one.kernel == kernel and one.now)
            cells += f"{each:9.1f}{each * left / THREADS_A_SECOND * 1e3:7.3f}{registers:6}{stack:7}"
        lines.append(cells)
    lines.append(
        f"{'all':<15}{sums[0] / 1e6:10,.0f}{sums[1] / 1e6:9,.0f}{_ms(sums[0]):11.3f}{_ms(sums[1]):8.3f}"
    )
    return "\n".join(lines)


def _ms(count: float) -> float:
    return count / BYTES_A_SECOND * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=128)
    parser.add_argument("--arms", type=int, default=4, help="of a seed, which have the same images")
    parser.add_argument(
        "--compile", type=int, metavar="CAPABILITY", help="90 for an H200, 75 for a T4; needs Triton"
    )
    options = parser.parse_args()
    print(table(options.runs, options.arms, options.compile))


if __name__ == "__main__":
    main()
