"""Read back by TensorBoard itself."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from regulab.exporters.tensorboard import EPOCH_TAGS, RESULT_TAGS, files
from regulab.files import file_name
from tests.reporting.factory import make_records, with_diverged

ARM = "l1: λ=1e-4/x"


@pytest.fixture(scope="module")
def records():
    return with_diverged(
        make_records(arms={"none": 0.0, ARM: 0.2}, seeds=2, epochs=4, images=60), ARM, 1, after=2
    )


@pytest.fixture(scope="module")
def folder(records, tmp_path_factory):
    out = tmp_path_factory.mktemp("events")
    for name, content in files(records):
        (out / name).parent.mkdir(parents=True)
        (out / name).write_bytes(content)
    return out


def read(folder, arm, seed):
    return EventAccumulator(str(folder / file_name(arm) / f"seed-{seed}")).Reload()


def test_every_run_is_a_run_of_tensorboard(folder, records):
    runs = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload().Runs()
    assert set(runs) == {f"{file_name(r.arm)}/seed-{r.seed}" for r in records.results}


@pytest.mark.parametrize(("arm", "seed"), [("none", 0), ("none", 1), (ARM, 0), (ARM, 1)])
def test_the_numbers_are_those_of_the_records(folder, records, arm, seed):
    found = read(folder, arm, seed)
    epochs = [one for one in records.history if (one.arm, one.seed) == (arm, seed)]
    (result,) = [one for one in records.results if (one.arm, one.seed) == (arm, seed)]
    rows = [(epochs, EPOCH_TAGS, "epoch"), ([result], RESULT_TAGS, "epochs")]
    wanted = {
        tag: [
            (getattr(one, step), np.float32(getattr(one, name)))
            for one in ones
            if getattr(one, name) is not None
        ]
        for ones, tags, step in rows
        for name, tag in tags.items()
    }
    wanted = {tag: values for tag, values in wanted.items() if values}
    assert set(found.Tags()["scalars"]) == set(wanted)
    for tag, values in wanted.items():
        assert [(event.step, np.float32(event.value)) for event in found.Scalars(tag)] == values


def test_time_is_the_runs_share_of_its_fleet(folder):
    times = [event.wall_time for event in read(folder, "none", 0).Scalars("loss/training")]
    assert times == [1.5 / 4 * epoch for epoch in (1, 2, 3, 4)]


def test_the_arm_stands_as_a_text(folder):
    found = read(folder, ARM, 0)
    assert found.Tags()["tensors"] == ["arm"]
    (event,) = found.Tensors("arm")
    text = event.tensor_proto.string_val[0].decode()
    assert f"arm: '{ARM}'" in text
    assert "l2: 0.0001" in text
    assert all(line.startswith("    ") for line in text.splitlines())
    assert found.SummaryMetadata("arm").plugin_data.plugin_name == "text"
