import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from regulab.errors import UserError
from regulab.files import file_name, json_bytes
from regulab.reporting import write_report
from regulab.reporting.sections.weights import HEIGHT, WIDTH, outline
from regulab.reporting.weights import BINS, EDGES, count, histograms, to_json
from tests.reporting.factory import make_records, with_diverged

NONE = {"zeros": 1, "bins": [0] * (BINS - 1) + [2]}
WHOLE = {"log10_edges": EDGES.tolist(), "runs": {"none": {"0": NONE}}}
DAMAGED = {
    "empty": b"",
    "no text": b"\xff",
    "cut off": json_bytes(WHOLE)[:-9],
    "a list": json_bytes([]),
    "no edges": json_bytes({"runs": {}}),
    "other edges": json_bytes(WHOLE | {"log10_edges": [-8.0, 1.0]}),
    "no seed": json_bytes(WHOLE | {"runs": {"none": {"x": NONE}}}),
    "few bins": json_bytes(WHOLE | {"runs": {"none": {"0": NONE | {"bins": [1, 2]}}}}),
    "negative": json_bytes(WHOLE | {"runs": {"none": {"0": NONE | {"zeros": -1}}}}),
}


def save(directory, arm, seed, **arrays):
    folder = directory / "weights" / file_name(arm)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(arrays, folder / f"seed-{seed}.safetensors")


def small_records(seeds):
    return make_records(arms={"none": 0.0, "l1": 0.0}, seeds=seeds, epochs=1, images=100)


def save_all(directory, records):
    """Weights of every completed run, some exactly zero, of sizes inside and outside the bins."""
    rng = np.random.default_rng(3)
    for arm, seed in records.predictions:
        sizes = 10.0 ** rng.uniform(-10, 2, size=(9, 41)) * rng.choice([-1, 0, 1], size=(9, 41))
        save(directory, arm, seed, weight=sizes.astype(np.float32), bias=np.ones(7, np.float32))


def drawn(directory, records):
    return histograms(records, count(records, directory))


def page(directory):
    return (directory / "report.html").read_bytes()


def test_shares_and_zeros_add_up_to_all_weights(tmp_path):
    matrix = np.array([[0.0, 1e-12, 0.011], [0.0, -0.011, 99.0]], np.float32)
    save(tmp_path, "l1+l2", 0, weight=matrix, bias=np.ones(7, np.float32))
    save(tmp_path, "l1+l2", 1, weight=matrix)
    (one,) = drawn(tmp_path, make_records(seeds=2, epochs=1))
    assert (one.arm, one.runs, one.weights) == ("l1+l2", 2, 12)
    assert one.zeros == pytest.approx(1 / 3)
    assert one.zeros + one.shares.sum() == pytest.approx(1)
    assert one.shares[0] == one.shares[-1] == pytest.approx(1 / 6)
    assert one.shares[np.searchsorted(EDGES, -1.96) - 1] == pytest.approx(1 / 3)


def test_counts_of_runs_give_the_histogram_of_all_their_weights(tmp_path):
    records = make_records(seeds=3, epochs=1)
    save_all(tmp_path, records)
    for one in drawn(tmp_path, records):
        paths = sorted((tmp_path / "weights" / file_name(one.arm)).iterdir())
        weights = np.concatenate([load_file(path)["weight"].ravel() for path in paths]).astype(np.float64)
        logs = np.log10(np.abs(weights[weights != 0])).clip(EDGES[0], EDGES[-1])
        np.testing.assert_array_equal(one.shares, np.histogram(logs, EDGES)[0] / len(weights))
        assert one.zeros == 1 - len(logs) / len(weights) > 0
        assert (one.weights, one.runs) == (len(weights), 3)


def test_channels_of_zeros_are_counted_in_studies_with_group_lasso_alone(tmp_path):
    """So that the counts of other studies stay as they are to the byte; and they come back from the file."""
    filters = np.zeros((4, 2, 3, 3), np.float32)
    filters[1, 0, 2, 2] = 0.3
    matrix = np.eye(3, 4, dtype=np.float32)
    matrix[2] = 0
    for arm in ("none", "l1"):
        save(tmp_path, arm, 0, conv=filters, classify=matrix, bias=np.zeros(5, np.float32))
    records = small_records(seeds=1)
    assert b"channels" not in json_bytes(to_json(count(records, tmp_path)))
    records.study["arms"]["l1"] = {"group_lasso": 1e-3}
    counts = count(records, tmp_path)
    assert {run: one.channels for run, one in counts.items()} == {("none", 0): (4, 7), ("l1", 0): (4, 7)}
    (tmp_path / "weights.json").write_bytes(json_bytes(to_json(counts)))
    shutil.rmtree(tmp_path / "weights")
    assert count(records, tmp_path) == counts


def test_the_outline_is_a_flight_of_steps(tmp_path):
    save(tmp_path, "none", 0, weight=np.full((2, 2), 0.5, np.float32))
    (one,) = drawn(tmp_path, make_records(seeds=1, epochs=1))
    path = outline(one, top=1.0)
    assert path.startswith(f"M0 {HEIGHT}V{HEIGHT}.0H")
    assert path.endswith(f"H{WIDTH}.0V{HEIGHT}")
    assert path.count("V0.0") == 1


def test_the_page_is_the_same_from_weights_and_from_what_was_counted_of_them(tmp_path):
    records = with_diverged(small_records(seeds=2), "l1", 1, after=0)
    save_all(tmp_path, records)
    assert tmp_path / "weights.json" in write_report(records, tmp_path)
    before, counted = page(tmp_path), (tmp_path / "weights.json").read_bytes()
    assert before.count(b"% exact zeros, of ") == 2

    shutil.rmtree(tmp_path / "weights")
    write_report(records, tmp_path)

    assert page(tmp_path) == before
    assert (tmp_path / "weights.json").read_bytes() == counted


def test_new_runs_join_those_that_were_counted_before(tmp_path):
    first, both = small_records(seeds=1), small_records(seeds=2)
    save_all(tmp_path / "at once", both)
    shutil.copytree(tmp_path / "at once", tmp_path / "extended")
    write_report(both, tmp_path / "at once")

    write_report(first, tmp_path / "extended")
    for path in (tmp_path / "extended" / "weights").rglob("seed-0.safetensors"):
        path.unlink()
    write_report(both, tmp_path / "extended")

    one, other = ((tmp_path / name / "weights.json").read_bytes() for name in ("at once", "extended"))
    assert other == one
    runs = json.loads(one)["runs"]
    assert {arm: list(seeds) for arm, seeds in runs.items()} == {"l1": ["0", "1"], "none": ["0", "1"]}
    assert page(tmp_path / "extended") == page(tmp_path / "at once")


def test_without_weights_and_counts_the_page_says_so(tmp_path):
    write_report(small_records(seeds=1), tmp_path)
    assert b"Neither the weights" in page(tmp_path)
    assert not (tmp_path / "weights.json").exists()


def test_damaged_weights_are_named(tmp_path):
    save(tmp_path, "none", 0, weight=np.ones((2, 2), np.float32))
    path = tmp_path / "weights" / "none" / "seed-0.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match="damaged weights"):
        count(make_records(seeds=1, epochs=1), tmp_path)


def test_counts_come_back(tmp_path):
    (tmp_path / "weights.json").write_bytes(json_bytes(WHOLE))
    counts = count(make_records(seeds=1, epochs=1), tmp_path)
    assert json_bytes(to_json(counts)) == json_bytes(WHOLE)


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_or_foreign_counts_are_named_before_anything_is_written(content, tmp_path):
    (tmp_path / "weights.json").write_bytes(content)
    with pytest.raises(UserError, match=r"weights\.json: ") as refusal:
        write_report(make_records(seeds=1, epochs=1), tmp_path)
    assert "\n" not in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.json"]
