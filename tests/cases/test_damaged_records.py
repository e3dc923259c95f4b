"""Records that parse and lie: a message or a warning that names the file, or the very same numbers."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regulab.errors import UserError
from regulab.files import json_bytes
from regulab.npz import npz_bytes
from regulab.reporting.weights import count, to_json
from regulab.run_directory.reading import read_records
from regulab.statistics import compare
from tests.cases.made_study import EPOCHS, IMAGES, make

NAMES = (
    "study.yaml", "environment.json", "history.jsonl", "results.csv", "orders.json", "mistakes.npz", "checksums.json",
    "predictions/none/seed-0.npz", "predictions/l1/seed-1.npz",
)  # fmt: skip
Change = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = make(tmp_path_factory.mktemp("made") / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return path, told(path)


def told(path: Path) -> dict[str, Any]:
    """Every number that a person can get to see of the records, and what is compared. A time is no result."""
    records = read_records(path)
    return {
        "comparison": compare(records).to_json(),
        "study": records.study,
        "environment": {k: v for k, v in records.environment.items() if k != "commit"},
        "history": [{**vars(one), "seconds": None} for one in records.history],
        "results": [{**vars(one), "seconds": None} for one in records.results],
        "predictions": {
            run: [None if array is None else array.tolist() for array in vars(one).values()]
            for run, one in records.predictions.items()
        },
        "mistakes": records.mistakes
        and [array.tolist() for array in vars(records.mistakes).values() if array is not None],
        "orders": records.orders,
        "looks": records.looks,
    }


def outcome(path: Path, name: str, reference: dict[str, Any]) -> str:
    """``refused``, ``warned`` or ``same``; fails where numbers changed silently, or an error has no message."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            found = told(path)
        except UserError as error:
            return "refused" if str(path) in str(error) else "refused without a file's name"
    if any(Path(name).name in str(one.message) for one in heard):
        return "warned"
    changed = [key for key in reference if found[key] != reference[key]]
    assert not changed, f"{name}: other {', '.join(changed)}, and not a word"
    return "same"


def damaged(made: tuple[Path, dict[str, Any]], to: Path, name: str, change: Change) -> str:
    shutil.copytree(made[0], to)
    (to / name).write_bytes(change((to / name).read_bytes()))
    try:
        return outcome(to, name, made[1])
    finally:
        shutil.rmtree(to)


def flipped(draws: random.Random) -> Change:
    def flip(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
        return bytes(changed)

    return flip


def torn(draws: random.Random) -> Change:
    return lambda content: content[: draws.randrange(len(content))]


def replaced(old: str, new: str) -> Change:
    def replace(content: bytes) -> bytes:
        changed = content.replace(old.encode(), new.encode(), 1)
        assert changed != content, f"{old} is not there"
        return changed

    return replace


def other_digit(draws: random.Random) -> Change:
    """Another digit in the place of one: what only a checksum or a second source can tell."""

    def change(content: bytes) -> bytes:
        places = [match.start() for match in re.finditer(rb"[0-9]", content)]
        changed, place = bytearray(content), draws.choice(places)
        changed[place] = ord(draws.choice([d for d in "0123456789" if ord(d) != content[place]]))
        return bytes(changed)

    return change


def damage_all(made: tuple[Path, dict[str, Any]], tmp_path: Path, each: int, seed: int) -> dict[str, int]:
    draws, counts = random.Random(seed), {"refused": 0, "warned": 0, "same": 0}
    for name in NAMES:
        kinds = [flipped(draws), torn(draws)]
        kinds += [other_digit(draws)] * (not name.endswith(".npz"))
        for number in range(each):
            found = damaged(made, tmp_path / "damaged", name, kinds[number % len(kinds)])
            assert found in counts, f"{name}: {found}"
            counts[found] += 1
    return counts


def test_damage_is_told_or_changes_nothing(made, tmp_path):
    counts = damage_all(made, tmp_path, each=4, seed=1)
    assert counts["refused"] + counts["warned"] > 0.8 * sum(counts.values())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_much_damage_is_told_or_changes_nothing(made, tmp_path, seed):
    damage_all(made, tmp_path, each=150, seed=10 + seed)


def history_line(**changes: Any) -> Change:
    """The first line, changed, in its own place."""

    def change(content: bytes) -> bytes:
        first, rest = content.split(b"\n", 1)
        return json.dumps({**json.loads(first), **changes}).encode() + b"\n" + rest

    return change


def cell(column: str, value: str, row: int = 0) -> Change:
    def change(content: bytes) -> bytes:
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        rows[row][column] = value
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()

    return change


def arrays(**changes: Any) -> Change:
    def change(content: bytes) -> bytes:
        with np.load(io.BytesIO(content)) as loaded:
            return npz_bytes({**dict(loaded), **changes})

    return change


def without(*names: str) -> Change:
    def change(content: bytes) -> bytes:
        with np.load(io.BytesIO(content)) as loaded:
            return npz_bytes({name: array for name, array in dict(loaded).items() if name not in names})

    return change


def fourth_class(content: bytes) -> bytes:
    """Of a study of three."""
    with np.load(io.BytesIO(content)) as loaded:
        return npz_bytes({**dict(loaded), "probabilities": np.pad(loaded["probabilities"], ((0, 0), (0, 1)))})


def halved_rest(content: bytes) -> bytes:
    """The probabilities of classes that are neither predicted nor right."""
    with np.load(io.BytesIO(content)) as loaded:
        found = loaded["probabilities"].copy()
        rows = np.arange(len(found))
        rest = np.ones(found.shape, bool)
        rest[rows, loaded["labels"]] = rest[rows, loaded["predicted"]] = False
        return npz_bytes({**dict(loaded), "probabilities": np.where(rest, found / 2, found)})


def bomb(megabytes: int) -> Change:
    """Confidences that are a kilobyte of zip and this much memory."""
    return arrays(confidence=np.zeros(megabytes * 2**18, np.float32))


def claim(shape: str) -> Change:
    """An array whose header claims a shape that its bytes are not."""

    def change(content: bytes) -> bytes:
        found = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(found, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name == "labels.npy":
                    header = (
                        f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
                    )
                    data = (
                        b"\x93NUMPY\x01\x00"
                        + len(header).to_bytes(2, "little")
                        + header.encode()
                        + data[128:]
                    )
                new.writestr(name, data)
        return found.getvalue()

    return change


LIES: list[tuple[str, Change, str]] = [
    ("history.jsonl", history_line(epoch=10**9), "warned"),
    ("history.jsonl", history_line(epoch=2), "warned"),  # there twice
    ("history.jsonl", history_line(epoch=-1), "warned"),
    ("history.jsonl", history_line(seed=10**30), "warned"),
    ("history.jsonl", history_line(arm="nobody"), "warned"),
    ("history.jsonl", history_line(val_loss=float("nan")), "warned"),
    ("history.jsonl", history_line(val_accuracy=101.0), "warned"),
    ("history.jsonl", history_line(val_loss=0.011), "warned"),
    ("history.jsonl", lambda content: content.partition(b"\n")[2], "warned"),
    ("history.jsonl", lambda content: b"[" * 10**5 + b"\n" + content, "warned"),
    ("history.jsonl", lambda content: b"\xff\n" + content, "warned"),
    ("results.csv", cell("arm", "l9"), "warned"),
    ("results.csv", cell("arm", "none", row=2), "warned"),  # there twice
    ("results.csv", cell("seed", "-1"), "warned"),
    ("results.csv", cell("seed", "7"), "warned"),
    ("results.csv", cell("epochs", str(10**9)), "warned"),
    ("results.csv", cell("best_epoch", "99"), "warned"),
    ("results.csv", cell("test_accuracy", "99.9"), "warned"),
    ("results.csv", cell("test_accuracy", "nan"), "warned"),
    ("results.csv", cell("test_loss", "inf"), "warned"),
    ("results.csv", cell("test_loss", "0.5"), "warned"),
    ("results.csv", cell("test_loss", ""), "warned"),
    ("results.csv", cell("zero_fraction", "0.125"), "warned"),
    ("results.csv", cell("status", "diverged"), "warned"),
    ("results.csv", cell("parameters", "9" * 5000), "warned"),
    ("results.csv", cell("data_order_hash", "0" * 64), "same"),  # the orders decide, and are left out with a warning
    ("results.csv", lambda content: content[: content.rindex(b"\nl1,1") + 1], "warned"),  # cut at the end of a row
    ("results.csv", lambda content: content + b"none,0,completed\n", "warned"),
    ("results.csv", lambda content: content[:-1] + b",1\n", "warned"),
    ("results.csv", lambda content: content + b"\x00\n", "warned"),
    ("results.csv", lambda content: content.replace(b"arm,seed", b"arm,sead"), "refused"),
    ("results.csv", lambda content: content + b'"' + b"x" * 200_000, "refused"),
    ("predictions/none/seed-0.npz", bomb(65), "refused"),
    ("predictions/none/seed-0.npz", claim("(1000000000000,)"), "refused"),
    ("predictions/none/seed-0.npz", claim("(-1,)"), "refused"),
    ("predictions/none/seed-0.npz", claim("(2, 6)"), "refused"),
    ("predictions/none/seed-0.npz", claim("(12" + ",(" * 3000), "refused"),
    ("predictions/none/seed-0.npz", arrays(labels=np.arange(5)), "refused"),
    ("predictions/none/seed-0.npz", arrays(predicted=np.full(IMAGES, 3)), "refused"),  # of three classes
    ("predictions/none/seed-0.npz", arrays(predicted=np.full(IMAGES, -1)), "refused"),
    ("predictions/none/seed-0.npz", arrays(confidence=np.full(IMAGES, np.nan, np.float32)), "refused"),
    ("predictions/none/seed-0.npz", arrays(labels=np.zeros(IMAGES)), "refused"),
    ("predictions/l1/seed-1.npz", arrays(labels=np.zeros(IMAGES, np.int64)), "refused"),  # another test split
    ("predictions/none/seed-0.npz", arrays(predicted=np.zeros(IMAGES, np.int64)), "refused"),  # not the most probable
    ("predictions/none/seed-0.npz", without("log_likelihood", "probabilities"), "warned"),
    ("predictions/none/seed-0.npz", without("probabilities"), "warned"),
    ("predictions/none/seed-0.npz", without("log_likelihood"), "refused"),
    ("predictions/none/seed-0.npz", arrays(probabilities=np.full((IMAGES, 3), 1 / 3, np.float16)), "refused"),
    ("predictions/none/seed-0.npz", arrays(probabilities=np.full((IMAGES, 3), np.nan, np.float16)), "refused"),
    ("predictions/none/seed-0.npz", arrays(probabilities=np.full((IMAGES, 3), 2, np.float16)), "refused"),
    ("predictions/none/seed-0.npz", arrays(probabilities=np.full((IMAGES, 3), 1 / 3, np.float32)), "refused"),
    ("predictions/none/seed-0.npz", arrays(probabilities=np.full((IMAGES, 2), 0.5, np.float16)), "refused"),
    ("predictions/none/seed-0.npz", arrays(probabilities=np.ones((5, 3), np.float16)), "refused"),
    ("predictions/none/seed-0.npz", arrays(log_likelihood=np.ones(IMAGES, np.float32)), "refused"),
    ("predictions/none/seed-0.npz", arrays(log_likelihood=np.full(IMAGES, -np.inf, np.float32)), "refused"),
    ("predictions/none/seed-0.npz", fourth_class, "refused"),
    ("predictions/none/seed-0.npz", halved_rest, "refused"),
    ("mistakes.npz", arrays(indices=np.array([3, 1])), "refused"),
    ("mistakes.npz", arrays(indices=np.array([0]), images=np.zeros((1, 4, 4, 1), np.uint8)), "warned"),
    ("mistakes.npz", arrays(images=np.zeros((0, 4, 4, 1), np.uint8)), "refused"),
    ("orders.json", lambda _: b"[" * 10**5, "refused"),
    ("orders.json", lambda _: b'{"none": {"0": ["a"], "0": ["b"]}}', "refused"),
    ("orders.json", lambda _: b'{"none": {"-1": ["a"]}}', "refused"),
    ("orders.json", lambda _: b'{"none": {"0": ["a"]}}', "warned"),
    ("looks.json", lambda _: b'[{"seeds": [0, 0], "arms": {}}]', "refused"),
    ("looks.json", lambda _: b'[{"seeds": [0, 8], "arms": {}}]', "refused"),
    ("looks.json", lambda _: b'[{"seeds": [1e400], "arms": {}}]', "refused"),
    ("environment.json", lambda _: b"[]", "refused"),
    ("environment.json", lambda _: b'{"notes": 3}', "refused"),
    ("environment.json", lambda _: b'{"n": ' + b"9" * 5000 + b"}", "refused"),
    ("environment.json", lambda _: b'{"n": NaN}', "refused"),
    ("environment.json", lambda _: b"\xff\xfe{}", "refused"),
    ("environment.json", replaced("1077", "1977"), "warned"),
    ("study.yaml", replaced("margin: 0.1", "margin: 0.3"), "warned"),
    ("study.yaml", replaced("owl", "awl"), "warned"),
    ("study.yaml", replaced("cat", '"c\\x1b[2Jat"'), "refused"),
    ("study.yaml", replaced("[cat, dog, owl]", "[]"), "refused"),
    ("study.yaml", replaced("[cat, dog, owl]", "3"), "refused"),
    ("study.yaml", lambda content: content + b"x" * 2**20, "refused"),
    ("checksums.json", lambda _: b"{}x", "refused"),
    ("checksums.json", lambda _: b'{"none": {"0": 3}}', "refused"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(LIES)))
def test_a_lie_is_named(made, tmp_path, number):
    name, change, expected = LIES[number]
    shutil.copytree(made[0], tmp_path / "run")
    path = tmp_path / "run" / name
    path.write_bytes(change(path.read_bytes() if path.exists() else b""))
    if expected == "same":
        with pytest.warns(UserWarning, match=r"results\.csv"):
            told(tmp_path / "run")
    else:
        assert outcome(tmp_path / "run", name, made[1]) == expected


def test_the_accuracy_of_the_predictions_stands_in_for_one_that_is_not_theirs(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "run")
    path = tmp_path / "run" / "results.csv"
    path.write_bytes(cell("test_accuracy", "99.9")(path.read_bytes()))
    with pytest.warns(UserWarning, match=r"results\.csv") as heard:
        found = told(tmp_path / "run")
    assert found == made[1]
    assert len(heard) == 2  # and the row has another checksum
    assert any("test_accuracy 99.9 is not that of its predictions" in str(one.message) for one in heard)


def test_without_checksums_the_files_still_hold_each_other(made, tmp_path):
    """Records of an earlier version, and of a stranger who left them out."""
    for name, change in (
        ("results.csv", cell("test_accuracy", "99.9")),
        ("results.csv", cell("best_epoch", "")),
        ("results.csv", cell("seconds", "17.0")),
        ("history.jsonl", lambda content: content.partition(b"\n")[2]),
    ):
        shutil.copytree(made[0], tmp_path / "run")
        (tmp_path / "run" / "checksums.json").unlink()
        (tmp_path / "run" / name).write_bytes(change((tmp_path / "run" / name).read_bytes()))
        assert outcome(tmp_path / "run", name, made[1]) == "warned"
        shutil.rmtree(tmp_path / "run")


def test_a_swapped_file_of_predictions_is_left_out(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "run")
    folder = tmp_path / "run" / "predictions"
    shutil.copyfile(folder / "l1" / "seed-1.npz", folder / "none" / "seed-0.npz")
    with pytest.warns(UserWarning, match=r"none/seed-0\.npz: not the predictions that were recorded"):
        found = told(tmp_path / "run")
    assert ("none", 0) not in found["predictions"]
    assert found["results"] == made[1]["results"]


def test_many_damaged_lines_are_ten_warnings_and_a_count(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "run")
    with (tmp_path / "run" / "history.jsonl").open("ab") as file:
        file.write(b"{}\n" * 500)
    with pytest.warns(UserWarning, match="damaged and left out|more of the kind") as heard:
        told(tmp_path / "run")
    assert [str(one.message) for one in heard][-1] == "and 490 more of the kind"
    assert len(heard) == 11


def test_changed_weights_and_counts_are_named_in_a_report(made, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(made[0], run)
    records, path = read_records(run), run / "weights" / "none" / "seed-0.safetensors"
    counted = count(records, run)
    (run / "weights.json").write_bytes(json_bytes(to_json(counted)))
    text = (run / "weights.json").read_text()
    (run / "weights.json").write_text(re.sub(r'"zeros": \d+', '"zeros": 77', text, count=1))
    with pytest.warns(UserWarning, match=r"weights\.json: l1 seed \d has \d+ weights") as heard:
        assert count(records, run) == counted
    assert any("weights.json: l1 seed 0 has 107 weights" in str(one.message) for one in heard)
    (run / "weights.json").unlink()
    whole = bytearray(path.read_bytes())
    whole[-3] ^= 0x40
    path.write_bytes(whole)
    with pytest.warns(UserWarning, match=r"none/seed-0\.safetensors: not as regulab wrote it"):
        count(records, run)
    path.write_bytes(whole[:-5])
    with (
        pytest.warns(UserWarning, match="not as regulab wrote it"),
        pytest.raises(UserError, match=r"none/seed-0\.safetensors: damaged weights"),
    ):
        count(records, run)


@pytest.mark.parametrize("name", ["l1-l2-mnist", "strengths-mnist/l1", "strengths-mnist/l2-more"])
def test_records_of_the_first_version_are_read_without_a_word(name):
    """They have neither checksums nor weights, and some no predictions; the comparison is what it was."""
    path = Path(__file__).parent.parent.parent / "results" / name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        records = read_records(path)
        comparison = compare(records).to_json()
    with (path / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for arm, found in comparison["arms"].items():
        accuracies = [float(row["test_accuracy"]) for row in rows if row["arm"] == arm]
        assert found["mean"] == pytest.approx(np.mean(accuracies), rel=1e-12)
    assert len(records.history) == sum(int(row["epochs"]) for row in rows)


def test_the_study_of_the_samples_is_whole(made):
    _, reference = made
    assert [len(reference[key]) for key in ("results", "history", "predictions", "orders")] == [
        4,
        4 * EPOCHS,
        4,
        4,
    ]
    assert reference["mistakes"]


def test_the_loss_of_the_predictions_stands_in_for_one_that_is_not_theirs(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "run")
    path = tmp_path / "run" / "results.csv"
    path.write_bytes(cell("test_loss", "0.5")(path.read_bytes()))
    (tmp_path / "run" / "checksums.json").unlink()
    with pytest.warns(UserWarning, match=r"test_loss 0\.5 is not that of its predictions"):
        found = read_records(tmp_path / "run").results
    kept = read_records(made[0]).results
    assert [one.test_loss for one in found] == pytest.approx([one.test_loss for one in kept])


def test_other_class_probabilities_than_were_recorded_are_left_out_and_all_else_is_kept(made, tmp_path):
    """Two classes that are neither right nor predicted, or the same image in two ways: only a checksum tells."""
    shutil.copytree(made[0], tmp_path / "run")
    path = tmp_path / "run" / "predictions" / "none" / "seed-0.npz"
    path.write_bytes(without("log_likelihood", "probabilities")(path.read_bytes()))
    with pytest.warns(UserWarning, match=r"seed-0\.npz: not the class probabilities that were recorded"):
        records = read_records(tmp_path / "run")
    kept = read_records(made[0])
    one, before = records.predictions["none", 0], kept.predictions["none", 0]
    assert (one.log_likelihood, one.probabilities) == (None, None)
    assert np.array_equal(one.confidence, before.confidence)
    assert records.results == kept.results
