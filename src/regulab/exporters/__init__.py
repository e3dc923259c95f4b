"""The records of a run directory for other tools, one exporter a file."""

from __future__ import annotations

from pathlib import Path

from regulab.exporters.exporter import Exporter
from regulab.registry import catalogue, lookup
from regulab.run_directory.places import check_folder, write_inside
from regulab.run_directory.reading import read_records

FOLDER = "export"  # in a run directory: no name of regulab's own, so `--fresh` leaves what lies there


def exporters() -> dict[str, Exporter]:
    """Every exporter by its name."""
    return catalogue("regulab.exporters", Exporter)


def export(directory: Path, name: str, out: Path | None = None) -> list[Path]:
    """Writes a run directory's records with an exporter, by default into its folder ``export/NAME``; the files' paths.

    Raises `UserError` for a name that no exporter has, a tool that is not installed, a damaged run directory, and a
    link where a folder of the export should be.
    """
    exporter: Exporter = lookup(exporters(), name, "exporter", "--to")
    exporter.check()
    records = read_records(directory)
    target = out or directory / FOLDER / name
    written = []
    for file, content in exporter.files(records):
        if out is None:
            check_folder(directory, target / file)  # a stranger's directory may hold links
        write_inside(target, file.as_posix(), content)
        written.append(target / file)
    return written
