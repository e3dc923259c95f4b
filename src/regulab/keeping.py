"""What a study was given from Python, kept in its run directory: arrays of images, and the source of a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regulab.config import Study
from regulab.config.paths import data_path, given_path, model_path, with_path
from regulab.data import given as given_images
from regulab.models import given as given_networks
from regulab.run_directory.places import status_of
from regulab.run_directory.writing import RunDirectory


def as_kept(study: Study) -> Study:
    """The study with paths from its run directory to what that keeps."""
    names = {}
    for part, path in (("data", data_path(study.data.name)), ("model", model_path(study.model.name))):
        if kept := given_path(path):
            value = getattr(study, part)
            names[part] = value.model_copy(update={"name": with_path(value.name, path, kept)})
    return study.model_copy(update=names)


def to_keep(study: Study, directory: Path, *, fresh: bool) -> Mapping[str, bytes]:
    """The files that the directory will have to hold and does not yet, by their path in it.

    Read before anything is written there: what begins afresh may lie in the very directory that is emptied.
    """
    found: dict[str, bytes] = {}
    for path in (data_path(study.data.name), model_path(study.model.name)):
        kept = given_path(path)
        if kept and (fresh or status_of(directory / kept) is None):
            found[kept] = _content(study, path)
    return found


def _content(study: Study, path: str) -> bytes:
    arrays = given_images.held(path)
    if arrays is not None:
        return arrays.file()
    written = given_networks.written(study.model.name)
    if written is not None and path == model_path(study.model.name):
        return written.content()
    return Path(path).read_bytes()


def keep(store: RunDirectory, files: Mapping[str, bytes]) -> None:
    """Writes what `to_keep` found."""
    for path, content in files.items():
        store.write(path, content)
