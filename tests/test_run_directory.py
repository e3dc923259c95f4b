"""The run directory: round trips, refusals that lose nothing, kills, damage."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulab.config import Study, Train
from regulab.errors import UserError
from regulab.records import RESULT_COLUMNS, Mistakes
from regulab.run_directory.writing import RunDirectory, file_name, read_records
from tests.samples import STUDY, diverged, epoch_record, epochs, finished_run, predictions, result

HOSTILE = ("../x", "a/b", "CON", "🦉 owl", "x" * 100, 'quo"te,comma; line', "<script>")


@pytest.fixture
def directory(tmp_path):
    with RunDirectory.open(tmp_path / "run", STUDY, fresh=False) as opened:
        yield opened


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_a_study_comes_back_with_everything_it_recorded(directory):
    mistakes = Mistakes(
        indices=np.array([1, 2]), images=np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 1)
    )
    history = [*epochs(), *(replace(record, train_loss=None, val_loss=None) for record in epochs("l1"))]
    directory.write_environment({"torch": "2.13", "λ": None})
    directory.append_history(history)
    directory.write_results([result(), diverged("l1")])
    directory.write_predictions("none", 0, predictions())
    directory.write_mistakes(mistakes)
    records = read_records(directory.path)
    assert records.history == tuple(history)
    assert records.results == directory.read_results()
    assert records.results[1] == diverged("l1")
    assert records.environment == {"torch": "2.13", "λ": None}
    assert records.arms == ("none", "l1", "l2", "l1+l2")
    assert records.class_names == ("0", "1")
    assert list(records.predictions) == [("none", 0)]
    found = records.predictions["none", 0]
    for name in ("labels", "predicted", "confidence"):
        np.testing.assert_array_equal(getattr(found, name), getattr(predictions(), name))
        assert getattr(found, name).dtype == getattr(predictions(), name).dtype
    assert records.mistakes is not None
    np.testing.assert_array_equal(records.mistakes.image(2), mistakes.image(2))


def test_results_are_ordered_by_arm_and_seed_and_none_is_an_empty_cell(directory):
    directory.write_study(STUDY.model_copy(update={"seeds": (1, 2, 9, 10)}))
    directory.write_results(
        [result("l2", 10), result("none", 2), result("l2", 9), result("none", 1, best_epoch=None)]
    )
    assert [(r.arm, r.seed) for r in directory.read_results()] == [
        ("none", 1),
        ("none", 2),
        ("l2", 9),
        ("l2", 10),
    ]
    lines = (directory.path / "results.csv").read_text().splitlines()
    assert lines[0] == ",".join(RESULT_COLUMNS)
    assert lines[1] == (
        "none,1,completed,3,,0.30000000000000004,33.333333333333336,1e-17,100.0,12.0,3.5,0.0,0.25,9000,2.5,12e4,0012"
    )


@given(st.lists(st.floats(-1e99, 1e99), min_size=4, max_size=4))
def test_floats_survive_the_table_to_the_bit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("run") / "r"
    written = result(
        test_loss=values[0], weight_norm_l1=values[1], weight_norm_l2=values[2], seconds=values[3]
    )
    with RunDirectory.open(path, STUDY, fresh=False) as opened:
        opened.write_results([written])
        assert opened.read_results() == (written,)


@pytest.mark.parametrize("arm", HOSTILE)
def test_names_from_the_user_never_leave_the_directory(arm, tmp_path):
    study = Study(
        seeds=(7,), arms={"none": {}, arm: {"l1": 1.0}}, resolved={"class_names": ["a", "b"], "legends": {}}
    )
    with RunDirectory.open(tmp_path / "run", study, fresh=False) as opened:
        opened.write_environment({})
        opened.append_history(epochs(arm, 7))
        opened.write_results([result(arm, 7)])
        opened.write_predictions(arm, 7, predictions())
        opened.write_weights(arm, 7, {"w": np.ones(2, np.float32)})
    records = read_records(tmp_path / "run")
    assert records.arms == ("none", arm)
    assert records.history[0].arm == records.results[0].arm == arm
    assert list(records.predictions) == [(arm, 7)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "weights" / file_name(arm) / "seed-7.safetensors").is_file()
    with RunDirectory.open(tmp_path / "run", study, fresh=False) as again:
        assert again.study == study


def test_the_same_content_is_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        with RunDirectory.open(tmp_path / name, STUDY, fresh=False) as opened:
            opened.write_predictions("l1+l2", 0, predictions())
            opened.write_mistakes(Mistakes(indices=np.array([2]), images=np.zeros((1, 2, 2, 3), np.uint8)))
            opened.write_weights("none", 0, {"b": np.ones(3, np.float32), "a": np.zeros((2, 2), np.float32)})
            opened.save_checkpoint(0, {"w": np.arange(4.0)}, {"epoch": 2})
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert "weights/none/seed-0.safetensors" in contents(tmp_path / "a")


def test_a_checkpoint_holds_arrays_state_and_the_history_it_agrees_with(directory):
    arrays: dict[str, np.ndarray] = {
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "scalar": np.array(3, np.int64),
        "flags": np.array([True, False]),
        "none": np.empty((0, 2), np.float64),
    }
    assert directory.load_checkpoint(1) is None
    length = directory.append_history([epoch_record(), epoch_record(epoch=2)])
    directory.save_checkpoint(1, arrays, {"epoch": 2, "best": float("inf"), "loss": 0.1 + 0.2})
    loaded = directory.load_checkpoint(1)
    assert loaded is not None
    assert loaded[1] == {"history_length": length, "epoch": 2, "best": float("inf"), "loss": 0.1 + 0.2}
    assert loaded[0].keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[0][name], array)
        assert loaded[0][name].dtype == array.dtype
    directory.delete_checkpoint(1)
    directory.delete_checkpoint(1)
    assert directory.load_checkpoint(1) is None
    assert not (directory.path / "checkpoints").exists()


def test_history_appended_after_a_checkpoint_can_be_dropped(directory):
    length = directory.append_history([epoch_record(), epoch_record(seed=0)])
    assert length == directory.history_length() == (directory.path / "history.jsonl").stat().st_size
    assert directory.append_history([epoch_record(epoch=2)]) > length
    directory.truncate_history(length)
    assert directory.history_length() == length
    with pytest.raises(UserError, match="fresh"):
        directory.truncate_history(length + 1)


def test_fleets_come_back(directory):
    assert directory.read_fleets() == []
    fleets = [{"index": 0, "runs": [["none", 0], ["l1", 0]], "engine": "fleet"}]
    directory.write_fleets(fleets)
    assert directory.read_fleets() == fleets


def test_more_seeds_extend_and_fewer_take_nothing_away(tmp_path):
    finished_run(tmp_path / "run", STUDY.model_copy(update={"seeds": (3, 1)}))
    before = contents(tmp_path / "run")
    with RunDirectory.open(
        tmp_path / "run", STUDY.model_copy(update={"seeds": (0, 1, 5)}), fresh=False
    ) as opened:
        assert opened.study.seeds == (3, 1, 0, 5)
    with RunDirectory.open(tmp_path / "run", STUDY.model_copy(update={"seeds": (5,)}), fresh=False) as opened:
        assert opened.study.seeds == (3, 1, 0, 5)
        assert opened.study.resolved == STUDY.resolved
    after = contents(tmp_path / "run")
    assert before.pop("study.yaml") != after.pop("study.yaml")
    assert before == after


def test_another_study_is_refused_with_what_differs_and_loses_nothing(tmp_path):
    finished_run(tmp_path / "run")
    before = contents(tmp_path / "run")
    other = Study(name="small", seeds=(9,), train=Train(epochs=7), arms={"none": {}, "l1": {"l1": 0.5}})
    with pytest.raises(UserError) as refusal:
        RunDirectory.open(tmp_path / "run", other, fresh=False)
    message = str(refusal.value)
    assert "train.epochs (40 here, 7 asked for)" in message
    assert "arms.l1.l1 (0.0001 here, 0.5 asked for)" in message
    assert "arms.l2.l2 (0.0001 here, absent asked for)" in message
    assert "seeds" not in message
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "study.yaml"])
def test_a_folder_of_other_things_is_refused_and_never_emptied(tmp_path, fresh, name):
    (tmp_path / name).write_text("name: mine\n")
    (tmp_path / "README.md").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="not a run directory"):
        RunDirectory.open(tmp_path, STUDY, fresh=fresh)
    assert contents(tmp_path) == before


def test_fresh_starts_over_and_keeps_what_is_not_regulabs(tmp_path):
    finished_run(tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    (tmp_path / "run" / "weights.json").write_text("{}")
    (tmp_path / "run" / "figures").mkdir()
    (tmp_path / "run" / "figures" / "val_loss.png").write_text("")
    other = Study(name="other", seeds=(1,))
    with RunDirectory.open(tmp_path / "run", other, fresh=True) as opened:
        assert opened.study == other
        assert opened.read_results() == ()
    assert set(contents(tmp_path / "run")) == {"study.yaml", "notes.txt"}


def test_fresh_is_refused_while_another_process_writes(directory):
    directory.write_results([result()])
    with pytest.raises(UserError, match=f"pid {os.getpid()}"):
        RunDirectory.open(directory.path, STUDY, fresh=True)
    assert directory.read_results() == (result(),)


def test_a_file_in_the_place_of_the_directory_is_a_user_error(tmp_path):
    (tmp_path / "run").write_text("")
    for path in (tmp_path / "run", tmp_path / "run" / "deeper"):
        with pytest.raises(UserError, match="run"):
            RunDirectory.open(path, STUDY, fresh=False)


KILLED = """
import os, signal, sys
from pathlib import Path
import regulab.files
from tests.samples import STUDY, epoch_record
from regulab.run_directory.writing import RunDirectory
import numpy as np

directory = RunDirectory.open(Path(sys.argv[1]), STUDY, fresh=False)
directory.append_history([epoch_record()])
directory.save_checkpoint(0, {"w": np.ones(3)}, {"epoch": 1})
directory.append_history([epoch_record(epoch=2)])
if sys.argv[2] == "before the rename":
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    directory.save_checkpoint(0, {"w": np.zeros(3)}, {"epoch": 2})
elif sys.argv[2] == "in a line":
    with (directory.path / "history.jsonl").open("ab") as file:
        file.write(b'{"arm": "l1", "se')
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["before the rename", "in a line", "after the history"])
def test_a_killed_process_leaves_a_whole_directory(tmp_path, moment):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "run"), moment], env=environment, check=False
    )
    assert killed.returncode == -9
    with RunDirectory.open(tmp_path / "run", STUDY, fresh=False) as opened:
        loaded = opened.load_checkpoint(0)
        assert loaded is not None
        assert loaded[1]["epoch"] == 1
        np.testing.assert_array_equal(loaded[0]["w"], np.ones(3))
        opened.truncate_history(loaded[1]["history_length"])
        opened.append_history([epoch_record(epoch=2)])
        opened.write_environment({})
    assert [record.epoch for record in read_records(tmp_path / "run").history] == [1, 2]
    assert {path for path in contents(tmp_path / "run") if ".regulab" in path or "lock" in path} == set()


def test_killed_before_the_study_was_written_is_as_good_as_empty(tmp_path):
    (tmp_path / ".lock").write_text("1\n")
    (tmp_path / ".regulab-0123456789abcdef.tmp").write_text("half")
    with RunDirectory.open(tmp_path, STUDY, fresh=False):
        pass
    assert set(contents(tmp_path)) == {"study.yaml"}


@pytest.mark.parametrize("name", ["study.yaml", "environment.json", "history.jsonl"])
def test_a_missing_file_is_named(tmp_path, name):
    finished_run(tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    with pytest.raises(UserError, match=name):
        read_records(tmp_path / "run")


def test_no_directory_and_no_results_yet(tmp_path, directory):
    with pytest.raises(UserError, match="no such run directory"):
        read_records(tmp_path / "nowhere")
    directory.write_environment({})
    directory.append_history([epoch_record()])
    records = read_records(directory.path)
    assert records.results == ()
    assert records.mistakes is None


def test_a_damaged_line_is_left_out_with_a_warning_that_names_it(directory):
    directory.write_environment({})
    directory.append_history([epoch_record(epoch=n) for n in (1, 2, 3)])
    path = directory.path / "history.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[1] = b'{"arm": "\xff'
    path.write_bytes(b"\n".join(lines) + b'{"arm": "l1", "ep')
    with pytest.warns(UserWarning, match=r"history\.jsonl, line 2 is damaged") as warned:
        records = read_records(directory.path)
    assert [record.epoch for record in records.history] == [1, 3]
    assert len(warned) == 1


def test_a_damaged_row_of_the_results_is_named_and_the_rest_is_read(directory):
    """But never passed over when a study goes on: its runs would be trained again."""
    directory.write_environment({})
    runs = [("none", 0), ("none", 1), ("l1", 0)]
    directory.append_history([record for run in runs for record in epochs(*run)])
    directory.write_results([result(*run) for run in runs])
    path = directory.path / "results.csv"
    path.write_text(path.read_text().replace("none,1,completed,3", "none,1,completed,three"))
    with pytest.warns(UserWarning, match=r"results\.csv, row 3: epochs"):
        records = read_records(directory.path)
    assert [(r.arm, r.seed) for r in records.results] == [("none", 0), ("l1", 0)]
    with pytest.raises(UserError, match=r"results\.csv, row 3: epochs"):
        directory.read_results()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("looks.json", b"{}"),
        ("orders.json", b'{"none": {"x": []}}'),
        ("study.yaml", b"name: [1\n"),
        ("study.yaml", b"\xff\xfe"),
        ("environment.json", b"{"),
        ("results.csv", b"arm,seed\nnone,x\n"),
        ("predictions/none/seed-0.npz", b"PK"),
        ("mistakes.npz", b""),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content):
    finished_run(tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(content)
    with pytest.raises(UserError, match=name.rpartition("/")[2].replace(".", r"\.")):
        read_records(tmp_path / "run")


def test_flipped_bits_in_stored_arrays_are_a_user_error(tmp_path):
    finished_run(tmp_path / "run")
    path = tmp_path / "run" / "predictions" / "none" / "seed-0.npz"
    whole = bytearray(path.read_bytes())
    whole[60] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(UserError, match=r"seed-0\.npz: damaged"):
        read_records(tmp_path / "run")


def test_a_damaged_checkpoint_is_named(directory):
    directory.save_checkpoint(0, {"w": np.ones(3)}, {})
    path = directory.path / "checkpoints" / "fleet-0.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"fleet-0\.safetensors: damaged checkpoint"):
        directory.load_checkpoint(0)
