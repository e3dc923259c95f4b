"""Files of libraries are looked over before the loader maps them."""

from __future__ import annotations

import struct
import subprocess

import pytest

from regulab.training.kernels.compiling import compiler
from regulab.training.kernels.shared_objects import whole


def mach_o(segments, size, magic=0xFEEDFACF):
    """A file of macOS: its header, another command, a command for each segment, and zeros up to a size."""
    commands = struct.pack("=II16x", 0x1B, 24)  # LC_UUID
    for start, length in segments:
        commands += struct.pack("=II16sQQQQ16x", 0x19, 72, b"__TEXT", 0, length, start, length)
    header = struct.pack("=IIIIIII4x", magic, 0x0100000C, 0, 6, 1 + len(segments), len(commands), 0)
    return (header + commands).ljust(size, b"\0")


@pytest.mark.parametrize(
    ("content", "good"),
    [
        (mach_o([(0, 4096), (4096, 100)], 4196), True),
        (mach_o([(0, 4096), (4096, 100)], 4195), False),
        (mach_o([(0, 4096), (2**63, 2**63)], 4196), False),
        (mach_o([], 4096), False),
        (mach_o([(0, 100)], 4096)[:40], False),
        (mach_o([(0, 100)], 4096, magic=0xCAFEBABE), False),
        (mach_o([(0, 100)], 4096)[:16] + b"\xff" * 4080, False),
        (b"", False),
        (b"\x7fELF\x02" + b"\0" * 40, False),
        (b"\x7fELF\x02" + b"\0" * 4000, False),
        (b"\x7fELF\x02" + b"\xff" * 4000, False),
    ],
    ids=[
        "whole",
        "a byte short",
        "far",
        "empty",
        "cut",
        "other magic",
        "many",
        "nothing",
        "elf cut",
        "elf empty",
        "elf many",
    ],
)
def test_a_file_has_all_that_it_tells_the_loader_to_map(content, good):
    assert whole(content) is good


@pytest.mark.skipif(compiler() is None, reason="no C compiler")
def test_what_a_compiler_makes_is_whole_and_less_of_it_is_not(tmp_path):
    made = tmp_path / "made.so"
    subprocess.run([compiler(), "-shared", "-x", "c", "/dev/null", "-o", made], check=True)
    content = made.read_bytes()
    assert whole(content)
    assert not whole(content[: len(content) // 4])
