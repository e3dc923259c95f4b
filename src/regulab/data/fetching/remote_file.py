"""A file that can be downloaded, and the test that it is the right one."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1 << 20
WRAPPER = 1 << 16  # bytes for a gzip header with a name and a comment


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file of a dataset, kept in ``ROOT/folder/name``.

    ``content_bytes`` is the size of what is in it, decompressed, beyond which nothing is downloaded or decompressed.
    Exactly one digest is known: the ``md5`` that was published for the file as it is sent, or, of a gzip file,
    ``sha256`` of the decompressed bytes, which any gzip wrapper around the right content satisfies.
    """

    name: str
    folder: str  # below the data root, such as MNIST/raw
    mirrors: tuple[str, ...]  # addresses that ``name`` is appended to, tried in this order
    content_bytes: int
    sha256: str | None = None
    md5: str | None = None

    def __post_init__(self) -> None:
        assert self.sha256 is None or self.name.endswith(".gz")
        assert (self.sha256 is None) != (self.md5 is None), f"{self.name}: one digest, of one kind"

    @property
    def most_bytes(self) -> int:
        """The largest size that the right file can have: what deflate cannot shrink grows by 5 bytes in 16,000."""
        return self.content_bytes + self.content_bytes // 1000 + WRAPPER

    def path(self, root: Path) -> Path:
        return root / self.folder / self.name

    def unpacked(self, root: Path) -> Path | None:
        """Where the decompressed file is if someone unpacked it, as torchvision does; None for what is no gzip file."""
        return self.path(root).with_suffix("") if self.name.endswith(".gz") else None

    def is_there(self, root: Path) -> bool:
        """Whether it lies in the data root, as it is sent or unpacked; its content is not looked at."""
        unpacked = self.unpacked(root)
        return self.path(root).is_file() or (unpacked is not None and unpacked.is_file())

    def problem(self, path: Path) -> str | None:
        """What is wrong with the file at ``path``; None where it is the right one."""
        if self.md5 is not None:
            found = _digest_of_file(path, "md5")
            if found == self.md5:
                return None
            gzipped = self.name.endswith(".gz")
            of, more = (" of the gzip file", " (compressing anew changes it, too)") if gzipped else ("", "")
            return f"MD5{of} is {found}, expected {self.md5}{more}"
        try:
            content = _digest_of_content(path, self.content_bytes)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            return f"not a whole gzip file ({error})"
        if content is None:
            return f"more than the {self.content_bytes:,} bytes of the content"
        return (
            None if content == self.sha256 else f"SHA-256 of the content is {content}, expected {self.sha256}"
        )

    def problem_unpacked(self, path: Path) -> str | None:
        """As `problem`, for the decompressed file; asks for ``sha256``."""
        assert self.sha256 is not None
        found = _digest_of_file(path, "sha256")
        return None if found == self.sha256 else f"SHA-256 is {found}, expected {self.sha256}"


def _digest_of_file(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _digest_of_content(path: Path, most: int) -> str | None:
    """SHA-256 of the decompressed bytes; None as soon as there are more than ``most``: few bytes can hold gigabytes."""
    digest, size = hashlib.sha256(), 0
    with gzip.open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > most:
                return None
            digest.update(chunk)
    return digest.hexdigest()
