"""Event files for TensorBoard: a folder for each arm and in it one for each seed, so that runs are compared by name.

Scalars stand at their epoch, the measures of the finished run at its last one. Event files hold single precision. The
wall time of an event is the run's own training time until then, counted from 0, which TensorBoard shows as relative.
What the arm is (its techniques, and those settings of the study that all arms share) stands as a text.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from regulab.exporters.exporter import Exporter
from regulab.files import file_name
from regulab.records import EpochRecord, Result, StudyRecords

# Its reader takes a file for events by the middle of the name. TensorBoard's own writer names host, process and time
# there, so that an export made again would lie beside the first and every curve would be drawn twice.
FILE = "events.out.tfevents.regulab"
EPOCH_TAGS = {
    "train_loss": "loss/training",
    "val_loss": "loss/validation",
    "train_accuracy": "accuracy/training",
    "val_accuracy": "accuracy/validation",
    "penalty": "penalty",
    "lr": "learning rate",
}
RESULT_TAGS = {
    "test_loss": "test/loss",
    "test_accuracy": "test/accuracy",
    "weight_norm_l1": "weights/L1 norm",
    "weight_norm_l2": "weights/L2 norm",
    "zero_fraction": "weights/zero fraction",
    "near_zero_fraction": "weights/near-zero fraction",
}


def files(records: StudyRecords) -> Iterator[tuple[Path, bytes]]:
    results = {(one.arm, one.seed): one for one in records.results}
    epochs = sorted(records.history, key=lambda one: (one.arm, one.seed, one.epoch))
    for (arm, seed), of_run in groupby(epochs, key=lambda one: (one.arm, one.seed)):
        settings = _settings(records.study, arm, seed)
        content = _events(settings, list(of_run), results.get((arm, seed)))
        yield Path(file_name(arm), f"seed-{seed}", FILE), content


def _settings(study: Mapping[str, Any], arm: str, seed: int) -> str:
    """The arm in Markdown, every line indented: a block of code, whatever names stand in it."""
    shared = {key: study[key] for key in ("data", "model", "train", "protocol") if key in study}
    content = {"study": study["name"], "arm": arm, "seed": seed, "techniques": study["arms"][arm], **shared}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return "".join(f"    {line}\n" for line in text.splitlines())


def _events(settings: str, epochs: list[EpochRecord], result: Result | None) -> bytes:
    """The content of an event file, in TensorBoard's own encoding."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    file, seconds = io.BytesIO(), 0.0
    writer = RecordWriter(file)
    writer.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
    writer.write(Event(wall_time=0.0, step=0, summary=_text(settings)).SerializeToString())
    for one in epochs:
        seconds += one.seconds / one.fleet_size
        summary = Summary(value=_scalars(one, EPOCH_TAGS))
        writer.write(Event(wall_time=seconds, step=one.epoch, summary=summary).SerializeToString())
    if result is not None:
        summary = Summary(value=_scalars(result, RESULT_TAGS))
        writer.write(Event(wall_time=seconds, step=result.epochs, summary=summary).SerializeToString())
    return file.getvalue()


def _scalars(record: EpochRecord | Result, tags: Mapping[str, str]) -> list[Any]:
    """A value for each tag that the record has a number for."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    numbers = {tag: getattr(record, name) for name, tag in tags.items()}
    return [
        Summary.Value(tag=tag, simple_value=number) for tag, number in numbers.items() if number is not None
    ]


def _text(text: str) -> Any:
    """A text as TensorBoard's text plugin finds it: a tensor of one string that names the plugin."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
    return Summary(value=[Summary.Value(tag="arm", metadata=plugin, tensor=tensor)])


TENSORBOARD = Exporter(
    name="tensorboard",
    summary="event files for TensorBoard: a run for each arm and seed, scalars by epoch",
    files=files,
    module="tensorboard",
    extra="tensorboard",
)
