"""Class probabilities of the test split: the same from every engine, kept to the byte, and done without where old."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import regulab.study
from regulab.config import build_study
from regulab.config.metrics import refuse_endpoint
from regulab.errors import UserError
from regulab.npz import npz_bytes
from regulab.run_directory.reading import read_records
from regulab.statistics import compare
from regulab.training import class_probabilities, evaluate
from regulab.training.class_probabilities import ClassProbabilities
from regulab.training.fleet import Fleet
from regulab.training.notes import notes
from tests.training.setups import fleet_of, plain_of, runs_of, setup_of, study_of, validation_of

ARMS = {"none": {}, "l1": {"l1": 1e-3}}


@pytest.fixture(scope="module")
def given():
    return setup_of(study_of(ARMS))


def kept(trainer, given):
    images = validation_of(given.study)
    found = ClassProbabilities(len(images), len(trainer.runs), given.classes, torch.device("cpu"))
    return evaluate.evaluate(trainer, images, given.preprocessing, found), found


def test_every_engine_keeps_the_same(given):
    runs = runs_of(given.study)
    fleet = fleet_of(given, runs)
    fleet.train_epoch(1)
    weights = fleet.weights()
    vmapped = Fleet(given, runs, "vmap")
    vmapped.load_weights(weights)
    found = [kept(fleet, given)[1], kept(vmapped, given)[1]]
    for row, run in enumerate(runs):
        plain = plain_of(given, run)
        plain.load_weights({name: array[row : row + 1] for name, array in weights.items()})
        own = kept(plain, given)[1].of_run(0)
        for other in found:
            one = other.of_run(row)
            assert one["log_likelihood"] == pytest.approx(own["log_likelihood"], rel=1e-4, abs=1e-5)
            apart = np.abs(one["probabilities"].astype(float) - own["probabilities"])
            assert apart.max() < 1e-3, "float16 may round the last bit to either side"


def test_they_are_the_softmax_of_the_logits_in_batches_of_any_size(given, monkeypatch):
    runs = runs_of(given.study)[:3]
    fleet = fleet_of(given, runs)
    images = validation_of(given.study)
    x = given.preprocessing.normalize(given.preprocessing.to_unit(images.part(0, len(images))))
    with torch.no_grad():
        p = fleet.logits(x).double().softmax(-1)
    monkeypatch.setitem(evaluate.EVALUATION_IMAGES, "cpu", 7 * len(runs))
    (loss, predicted, confidence), found = kept(fleet, given)
    for row in range(len(runs)):
        one = found.of_run(row)
        assert (one["probabilities"].dtype, one["log_likelihood"].dtype) == (np.float16, np.float32)
        assert one["probabilities"] == pytest.approx(p[:, row].numpy(), rel=2e-3, abs=1e-6)
        assert -one["log_likelihood"].mean(dtype=np.float64) == pytest.approx(float(loss[row]), rel=1e-9)
        own = p[torch.arange(len(images)), row, images.labels].log()
        assert one["log_likelihood"] == pytest.approx(own.numpy(), rel=1e-4)
    plain = evaluate.evaluate(fleet, images, given.preprocessing)
    for one, other in zip((loss, predicted, confidence), plain, strict=True):
        assert torch.equal(one, other), "whether they are kept changes nothing else"


def test_too_many_are_not_kept_and_that_is_said(given, monkeypatch):
    monkeypatch.setattr(class_probabilities, "MOST_PROBABILITIES", 3599)
    monkeypatch.setattr("regulab.training.notes.MOST_PROBABILITIES", 3599)
    monkeypatch.setattr("regulab.config.metrics.MOST_PROBABILITIES", 3599)
    _, found = kept(fleet_of(given, runs_of(given.study)[:1]), given)
    assert found.of_run(0)["probabilities"] is None
    assert found.of_run(0)["log_likelihood"].shape == (360,)
    said = [one for one in notes(given) if "class probabilities" in one]
    assert said == [
        "class probabilities of 360 test images × 10 classes are not kept, which would take 0 MB a run: Brier score, "
        "top-k accuracy and ensembles need them, calibration and likelihood do not"
    ]
    with pytest.raises(UserError, match="brier needs the probabilities of all classes"):
        refuse_endpoint("brier", 10, 360)
    refuse_endpoint("nll", 10, 360)


SMALL = {
    "name": "kept", "arms": ARMS, "baseline": "none", "seeds": 2,
    "train": {"epochs": 1, "batch_size": 128, "precision": "fp32", "engine": "fleet"}, "data": {"train_images": 256},
}  # fmt: skip


def run(path: Path, **changes):
    regulab.study.run(build_study({**SMALL, **changes}), path, data_root=path.parent / "nowhere")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("kept") / "run")


def predictions(path: Path):
    return {one.relative_to(path): one.read_bytes() for one in sorted(path.glob("predictions/*/*.npz"))}


def test_a_run_leaves_them_and_they_are_its_results(finished):
    records = read_records(finished)
    assert len(records.predictions) == 4
    for result in records.results:
        one = records.predictions[result.arm, result.seed]
        assert one.probabilities.shape == (360, 10)
        assert -one.log_likelihood.mean(dtype=np.float64) == pytest.approx(result.test_loss, rel=1e-9)
        assert (one.probabilities.argmax(1) == one.predicted).mean() > 0.99


def test_the_same_study_leaves_the_same_bytes(finished, tmp_path):
    assert predictions(run(tmp_path / "again")) == predictions(finished)


def as_before(path: Path) -> None:
    """What a version without class probabilities would have written."""
    for file in path.glob("predictions/*/*.npz"):
        with np.load(io.BytesIO(file.read_bytes())) as loaded:
            file.write_bytes(
                npz_bytes({name: loaded[name] for name in ("labels", "predicted", "confidence")})
            )
    sums = json.loads((path / "checksums.json").read_text())
    for seeds in sums.values():
        for one in seeds.values():
            del one["probabilities"]
    (path / "checksums.json").write_text(json.dumps(sums))


@pytest.mark.slow
def test_a_directory_without_them_is_read_reported_and_extended(tmp_path, recwarn):
    path = run(tmp_path / "run")
    as_before(path)
    old = predictions(path)
    run(path)  # finished: reports
    page = (path / "README.md").read_text()
    assert "4 of 4 runs have no class probabilities: they were recorded by a version of regulab" in page
    assert (path / "figures" / "regulab-reliability.png").exists(), "confidences were there before"
    assert not [one for one in recwarn if "probabilities" in str(one.message)]
    run(path, seeds=4)
    after = predictions(path)
    assert old.items() <= after.items()
    records = read_records(path)
    assert sum(one.probabilities is None for one in records.predictions.values()) == 4
    comparison = compare(records, metric="brier")
    assert (comparison.arms["l1"].n, "4 of 8 runs have no class probabilities" in comparison.note) == (
        2,
        True,
    )
    assert comparison.ensembles.by_arm["l1"].seeds == (2, 3)


def test_a_study_that_could_not_be_judged_is_refused_before_it_trains(tmp_path):
    folder = tmp_path / "two"
    for part in ("a", "b"):
        (folder / part).mkdir(parents=True)
        for number in range(20):
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(folder / part / f"{number}.png")
    with pytest.raises(UserError, match=r"top_2_accuracy of 2 classes is 100 %") as refusal:
        run(tmp_path / "run", data={"name": str(folder)}, endpoint={"metric": "top_2_accuracy"})
    assert refusal.value.where == "endpoint.metric"
    assert not (tmp_path / "run").exists()
