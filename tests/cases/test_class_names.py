"""Names of classes: any script works; what cannot be shown is refused at loading, escaped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from regulab.config import build_study, parse_yaml
from regulab.data import find_dataset
from regulab.data.names import visible
from regulab.errors import UserError

from .making_images import noise, save


def read(path: Path, *names: str):
    for name in names:
        for number in range(5):
            save(path / name / f"{number}.png", noise())
    return find_dataset(f"folder:{path}").load(path)


SCRIPTS = (
    "猫", "Ёлка", "کتاب‌ها", "हिन्दी", "😀👩‍👧", "naïve café", "العربية", "ไทย", "-dash", "a'b\"c", "NO", "1e-4",
    "null", "🇩🇪", "a,b", "<b>x", "=1+1", "con", "𝔘𝔫𝔦",
)  # fmt: skip


def test_any_script(tmp_path):
    content = read(tmp_path, *SCRIPTS)
    assert content.class_names == tuple(sorted(SCRIPTS))
    resolved = {"class_names": list(content.class_names)}
    study = build_study({"arms": {"none": {}}}).model_copy(update={"resolved": resolved})
    again = build_study(parse_yaml(study.to_yaml(), ""))
    assert again.resolved == resolved


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("two\nlines", "two\\nlines"),
        ("tab\there", "tab\\there"),
        ("\x7fdel", "\\x7fdel"),
        ("c1\x9bcsi", "c1\\x9bcsi"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("iso\u2066late", "iso\\u2066late"),
        ("line\u2028break", "line\\u2028break"),
        ("pop\u202c", "pop\\u202c"),
    ],
)
def test_control_characters_are_refused_and_escaped(tmp_path, name, shown):
    with pytest.raises(UserError, match="control characters in the name of a class") as caught:
        read(tmp_path, "plain", name)
    message = str(caught.value)
    assert f"got '{shown}'" in message
    assert name not in message
    assert str(tmp_path) in message


@pytest.mark.parametrize("part", ["", "train", "test"])
def test_names_that_are_not_utf_8(tmp_path, part):
    """Latin-1 from an old archive."""
    for folder in {part, *(("train", "test") if part else ())}:
        read_into = tmp_path / folder
        for name in ("plain", "zz"):
            for number in range(5):
                save(read_into / name / f"{number}.png", noise())
    place = os.fsencode(tmp_path / part)
    os.rename(place + b"/zz", place + b"/caf\xe9")
    with pytest.raises(UserError, match="the name of a class is not UTF-8") as caught:
        find_dataset(f"folder:{tmp_path}").load(tmp_path)
    assert "caf\\udce9" in str(caught.value)
    str(caught.value).encode()  # can be printed


def test_file_names_of_any_bytes(tmp_path):
    """Files may be called what they like: what a note says of them can be written to JSON."""
    read(tmp_path, "a", "b")
    place = os.fsencode(tmp_path / "a")
    os.rename(place + b"/0.png", place + b"/\xff\x1b.png")
    open(place + b"/\xfe\x07.txt", "w").close()
    content = find_dataset(f"folder:{tmp_path}").load(tmp_path)
    assert len(content.train) + len(content.open_test()) == 10
    (note,) = content.notes
    assert note.endswith(": a/\\udcfe\\x07.txt")
    note.encode()


def test_long_texts_are_cut():
    assert visible("x" * 500) == "x" * 119 + "…"
    assert visible("é\u200d\x00") == "é\u200d\\x00"
