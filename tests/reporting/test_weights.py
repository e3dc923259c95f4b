import numpy as np
import pytest
from safetensors.numpy import save_file

from regulab.errors import UserError
from regulab.files import file_name
from regulab.reporting.weights import EDGES, HEIGHT, WIDTH, histograms
from tests.reporting.factory import make_records


def save(directory, arm, seed, **arrays):
    folder = directory / "weights" / file_name(arm)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(arrays, folder / f"seed-{seed}.safetensors")


def test_shares_and_zeros_add_up_to_all_weights(tmp_path):
    matrix = np.array([[0.0, 1e-12, 0.011], [0.0, -0.011, 99.0]], np.float32)
    save(tmp_path, "l1+l2", 0, weight=matrix, bias=np.ones(7, np.float32))
    save(tmp_path, "l1+l2", 1, weight=matrix)
    (one,) = histograms(make_records(seeds=2, epochs=1), tmp_path)
    assert (one.arm, one.runs, one.weights) == ("l1+l2", 2, 12)
    assert one.zeros == pytest.approx(1 / 3)
    assert one.zeros + one.shares.sum() == pytest.approx(1)
    assert one.shares[0] == one.shares[-1] == pytest.approx(1 / 6)
    assert one.shares[np.searchsorted(EDGES, -1.96) - 1] == pytest.approx(1 / 3)


def test_the_outline_is_a_flight_of_steps(tmp_path):
    save(tmp_path, "none", 0, weight=np.full((2, 2), 0.5, np.float32))
    (one,) = histograms(make_records(seeds=1, epochs=1), tmp_path)
    path = one.outline(top=1.0)
    assert path.startswith(f"M0 {HEIGHT}V{HEIGHT}.0H")
    assert path.endswith(f"H{WIDTH}.0V{HEIGHT}")
    assert path.count("V0.0") == 1


def test_no_files_no_histograms_and_damaged_ones_are_named(tmp_path):
    records = make_records(seeds=1, epochs=1)
    assert histograms(records, tmp_path) == []
    save(tmp_path, "none", 0, weight=np.ones((2, 2), np.float32))
    path = tmp_path / "weights" / "none" / "seed-0.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match="damaged weights"):
        histograms(records, tmp_path)
