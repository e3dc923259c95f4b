"""The files of misclassified images: how a page calls and links them, and which ones most runs get wrong."""

from __future__ import annotations

import posixpath
from collections import Counter
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np

from regulab.records import StudyRecords

MOST = 10  # files in the table of those that most runs get wrong


@dataclass(frozen=True)
class ImageFile:
    """A file from the dataset's folder, and a link to it from the run directory; empty: there is none."""

    path: str
    link: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class OftenWrong:
    """A test image that ``wrong`` of ``runs`` runs got wrong, most of them as ``predicted``, with this mean."""

    file: ImageFile
    actual: int
    predicted: int
    confidence: float
    wrong: int
    runs: int


def image_file(records: StudyRecords, index: int) -> ImageFile | None:
    """The file of a test image that some run got wrong; None where images have no files.

    The link leads to where the dataset's folder was when the study was begun, as seen from the run directory: it holds
    on that machine while neither of the two moves. Whatever the file is called, it is a path and no other address.
    """
    path = records.file_of(index)
    if path is None:
        return None
    folder = _folder(records)
    return ImageFile(path, "" if folder is None else quote(posixpath.normpath(posixpath.join(folder, path))))


def _folder(records: StudyRecords) -> str | None:
    """From where the names of files start: the folder that the study names, or that of the file that it names."""
    kind, _, place = str(records.study["data"]["name"]).partition(":")
    folder = place if kind == "folder" else posixpath.dirname(place)
    if not place or "\\" in place or place.startswith("~"):
        return None
    if place.startswith("/"):
        return "/" + folder.lstrip("/")  # two slashes would name a server
    start = records.study["resolved"].get("paths_from")
    return posixpath.join(start, folder) if isinstance(start, str) and not start.startswith("/") else None


def often_wrong(records: StudyRecords) -> list[OftenWrong]:
    """The test images with files that more than half of all runs got wrong: most runs first, then most confident."""
    runs = [records.predictions[run] for run in sorted(records.predictions)]
    if not runs or records.mistakes is None or records.mistakes.files is None:
        return []
    wrong = np.sum([run.labels != run.predicted for run in runs], axis=0)
    found = []
    for index in np.flatnonzero(2 * wrong > len(runs)).tolist():
        actual = int(runs[0].labels[index])
        said = Counter(int(run.predicted[index]) for run in runs if run.predicted[index] != actual)
        predicted = min(said, key=lambda label: (-said[label], label))
        alike = [float(run.confidence[index]) for run in runs if run.predicted[index] == predicted]
        file = image_file(records, index)
        assert file is not None
        confidence = float(np.mean(alike))
        found.append(OftenWrong(file, actual, predicted, confidence, int(wrong[index]), len(runs)))
    return sorted(found, key=lambda one: (-one.wrong, -one.confidence, one.file.path))
