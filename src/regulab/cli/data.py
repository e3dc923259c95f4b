"""``regulab data``: bring a dataset's files here, or check those that are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from regulab.cli import completing
from regulab.cli.exits import guarded
from regulab.cli.options import DataRoot
from regulab.errors import UserError
from regulab.process import signals

app = typer.Typer(help="Download a dataset, or check its files.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(
        help="A dataset with files to download, such as mnist.", autocompletion=completing.downloads
    ),
]


@app.command()
@guarded
def fetch(name: Name, data_root: DataRoot = None) -> None:
    """Download a dataset from its mirrors; goes on where an earlier download stopped."""
    from regulab.data import data_root as found_root
    from regulab.data import find_dataset
    from regulab.data.fetching.fetch import fetch as fetch_files

    dataset, root = find_dataset(name), data_root or found_root()
    with signals.unwinding("give the same command again to go on"), _transfers() as progress:
        paths = fetch_files(dataset, root, progress, tell=lambda text: print(text, file=sys.stderr))
    for path in paths:
        print(path)


@app.command()
@guarded
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete what is there.")] = False,
) -> None:
    """Show where decoded images are kept and how much they take, or delete them: they are made again when needed."""
    from regulab.data.formats.image_cache import cache_folder, cached_files
    from regulab.files import refusing
    from regulab.terminal.consoles import size

    found = cached_files()
    for path, _ in found if clear else ():
        with refusing(path):
            path.unlink(missing_ok=True)
    total = sum(count for _, count in found)
    files = f"{len(found)} file{'' if len(found) == 1 else 's'}"
    print(f"{cache_folder()}: {files}, {size(total)}{', deleted' if clear else ''}")


@app.command()
@guarded
def verify(name: Name, data_root: DataRoot = None) -> None:
    """Check a dataset's files against their published checksums."""
    from regulab.data import data_root as found_root
    from regulab.data import find_dataset
    from regulab.data.fetching.fetch import verify as verify_files

    checks = verify_files(find_dataset(name), data_root or found_root())
    for check in checks:
        print(f"{check.status:9}  {check.path}" + (f"  ({check.detail})" if check.detail else ""))
    wrong = [check for check in checks if check.status in ("missing", "corrupt")]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(checks)} files of {name} are missing or corrupt; "
            f"`regulab data fetch {name}` brings them"
        )


@contextmanager
def _transfers() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar per file on a terminal, one line per file elsewhere; on stderr."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    from regulab.terminal.consoles import errors

    console = errors()
    if not console.is_terminal:
        announced: set[str] = set()

        def announce(name: str, done: int, total: int | None) -> None:
            if name not in announced:
                announced.add(name)
                console.print(f"downloading {name}", markup=False, soft_wrap=True)

        yield announce
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def update(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name)
            bars.update(tasks[name], completed=done, total=total)

        yield update
