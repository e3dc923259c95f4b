"""Files of shared libraries, ELF's and macOS's: whether one may be mapped, before it is handed to the loader."""

from __future__ import annotations

import struct
from collections.abc import Iterator

ELF, MACH_O = (
    b"\x7fELF\x02",
    struct.pack("=I", 0xFEEDFACF),
)  # both of 64 bits, Mach-O of this machine's byte order
PT_LOAD, LC_SEGMENT_64 = 1, 0x19


def whole(content: bytes) -> bool:
    """Whether a library's file has all that it tells the loader to map, which else ends the process by SIGBUS."""
    try:
        if content[:5] == ELF:
            pieces = list(_elf_pieces(content))
        elif content[:4] == MACH_O:
            pieces = list(_mach_o_pieces(content))
        else:
            return False
    except (struct.error, OverflowError):  # it ends before the table of its pieces does
        return False
    return bool(pieces) and all(start + length <= len(content) for start, length in pieces)


def _elf_pieces(content: bytes) -> Iterator[tuple[int, int]]:
    """Where pieces to be mapped begin in the file, and how long they are. Source: elf(5), Elf64_Ehdr and Elf64_Phdr."""
    (start,) = struct.unpack_from("=Q", content, 32)
    size, count = struct.unpack_from("=HH", content, 54)
    for place in range(count):
        kind, _, offset, _, _, length = struct.unpack_from("=IIQQQQ", content, start + size * place)
        if kind == PT_LOAD:
            yield offset, length


def _mach_o_pieces(content: bytes) -> Iterator[tuple[int, int]]:
    """The same of macOS. Source: mach-o/loader.h, mach_header_64 and segment_command_64."""
    (count,) = struct.unpack_from("=I", content, 16)
    at = 32
    for _ in range(count):
        kind, size = struct.unpack_from("=II", content, at)
        if kind == LC_SEGMENT_64:
            offset, length = struct.unpack_from("=QQ", content, at + 40)
            yield offset, length
        at += max(size, 8)
