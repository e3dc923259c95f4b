"""`regulab data fetch` and `verify`: the files of a dataset from their mirrors, checked before they count."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regulab.data.dataset import Dataset
from regulab.data.fetching.download import TransferError, download, own_part
from regulab.data.fetching.folder_lock import alone
from regulab.data.fetching.remote_file import RemoteFile
from regulab.data.regular_file import reason
from regulab.errors import UserError
from regulab.files import refusing

__all__ = ["Check", "FetchError", "RemoteFile", "fetch", "verify"]

Progress = Callable[[str, int, int | None], None]  # file name, bytes so far, bytes in all or None
Tell = Callable[[str], None]


class FetchError(OSError):
    """No mirror delivered a file: a failure of the network or of the mirrors, not of the person's input."""


@dataclass(frozen=True)
class Check:
    """What `verify` found out about one file."""

    path: Path
    status: Literal["ok", "missing", "corrupt", "unchecked"]
    detail: str = ""  # why, where the status is not ok


def fetch(
    dataset: Dataset, root: Path, progress: Progress, *, pause: float = 1.0, tell: Tell = lambda text: None
) -> list[Path]:
    """Downloads the files of ``dataset`` that are missing or wrong; returns the paths of all of them.

    Mirrors are tried in order; one that serves wrong content is left for the next. A file is whole and
    checked before it gets its name; until then its bytes stand in ``NAME.part``, from which an
    interrupted download goes on. One process at a time downloads into a folder; another one waits for it, which
    ``tell`` says. ``pause`` is the wait in seconds before a broken transfer is resumed.

    Raises `UserError` for a dataset without files to fetch and for places that may not be read or written,
    `FetchError` where all mirrors failed (naming each and why), and OSError where the disk did.
    """
    _require_files(dataset)
    return [_fetch_one(file, root, progress, pause, tell) for file in dataset.files]


def verify(dataset: Dataset, root: Path) -> list[Check]:
    """Checks each file of ``dataset`` where loading looks for it: the gzip file first, then the unpacked one.

    ``unchecked``: the file is there unpacked, and only a digest of the gzip file is known.
    """
    _require_files(dataset)
    return [_check(file, root) for file in dataset.files]


def _require_files(dataset: Dataset) -> None:
    if not dataset.files:
        raise UserError(
            f"the dataset {dataset.name} has no files to download or verify: {dataset.summary}",
            where=f"data {dataset.name}",
        )


def _check(file: RemoteFile, root: Path) -> Check:
    path, unpacked = file.path(root), file.unpacked(root)
    try:
        if path.is_file():
            return _judged(path, file.problem(path))
        if unpacked is None:
            return Check(path, "missing", "it is not there")
        if not unpacked.is_file():
            return Check(path, "missing", "neither this file nor the unpacked one is there")
        if file.sha256 is None:
            return Check(unpacked, "unchecked", "only the MD5 of the gzip file is known")
        return _judged(unpacked, file.problem_unpacked(unpacked))
    except OSError as error:
        raise UserError(f"cannot read the file ({reason(error)})", where=str(path)) from error


def _judged(path: Path, problem: str | None) -> Check:
    return Check(path, "ok") if problem is None else Check(path, "corrupt", problem)


def _fetch_one(file: RemoteFile, root: Path, progress: Progress, pause: float, tell: Tell) -> Path:
    found = _check(file, root)
    if found.status == "ok":
        return found.path
    path = file.path(root)
    with refusing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path.parent, tell):
        found = _check(file, root)  # the process that was waited for may have brought it
        if found.status == "ok":
            return found.path
        part = path.with_name(path.name + ".part")
        own_part(part)
        failures = []
        for mirror in file.mirrors:
            problem = _from_mirror(mirror + file.name, file, part, progress, pause)
            if problem is None:
                with refusing(path):
                    part.replace(path)
                return path
            failures.append(f"{mirror}{file.name}: {problem}")
    raise FetchError(f"no mirror delivered {file.name}\n  " + "\n  ".join(failures))


def _from_mirror(url: str, file: RemoteFile, part: Path, progress: Progress, pause: float) -> str | None:
    """Brings the right content into ``part``, or says why not.

    Wrong content may come from the beginning that an earlier attempt, perhaps at another mirror, left
    in ``part``: then the mirror gets a second try, from the first byte.
    """
    while True:
        continued = part.exists()
        try:
            download(
                url, part, file.most_bytes, lambda done, total: progress(file.name, done, total), pause=pause
            )
        except TransferError as error:
            return str(error)
        problem = file.problem(part)
        if problem is None:
            _to_disk(part)
            return None
        part.unlink()
        if not continued:
            return f"wrong content: {problem}"


def _to_disk(path: Path) -> None:
    """Waits until the bytes are on the disk, so that after a power cut the name never stands for less."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
