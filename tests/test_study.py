"""Whole small studies on digits: what is recorded is what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from regulab import dry_run
from regulab import study as main_path
from regulab.config import build_study
from regulab.data import load
from regulab.errors import UserError
from regulab.records import COMPLETED, DIVERGED
from regulab.run_directory.reading import read_json
from regulab.run_directory.writing import read_records
from regulab.statistics import compare
from regulab.training import setup

NOWHERE = Path("no data here")
ARMS = {
    "none": {},
    "patient": {"early_stopping": {"patience": 1, "min_delta": 0.5}, "l1": 1e-3},
    "broken": {"l2": {"strength": 1e30, "include": "all"}},
}


def small(**more):
    content = {"name": "small", "arms": ARMS, "seeds": [3, 1], "train": {"epochs": 5, "precision": "fp32"}}
    return build_study({**content, **more})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "small"
    outcome = main_path.run(small(), directory, data_root=NOWHERE)
    return outcome, read_records(directory)


def epochs_of(records, arm, seed):
    return [record for record in records.history if (record.arm, record.seed) == (arm, seed)]


def test_the_contract_files_are_there(finished):
    outcome, _ = finished
    names = (
        *(
            "study.yaml",
            "environment.json",
            "history.jsonl",
            "results.csv",
            "mistakes.npz",
            "statistics.json",
        ),
        *(
            "figures/val_accuracy.png",
            "figures/val_accuracy.svg",
            "figures/val_loss.png",
            "figures/val_loss.svg",
        ),
        *("misclassified/none.png", "report.html", "README.md", "predictions/none/seed-3.npz"),
        *("weights/none/seed-1.safetensors", "weights.json"),
    )
    assert [name for name in names if not (outcome.directory / name).is_file()] == []
    assert not (outcome.directory / "checkpoints").exists()


def test_a_diverged_arm_is_marked_and_the_others_finish(finished):
    outcome, records = finished
    assert sorted(outcome.diverged) == [("broken", 1), ("broken", 3)]
    by_run = {(r.arm, r.seed): r for r in records.results}
    assert {run for run, r in by_run.items() if r.status == DIVERGED} == {("broken", 1), ("broken", 3)}
    assert by_run["broken", 3].test_accuracy is None
    assert epochs_of(records, "broken", 3)[-1].val_loss is None
    assert by_run["none", 3].status == COMPLETED
    assert by_run["none", 3].epochs == 5


def test_early_stopping_stops_and_goes_back_to_the_best_weights(finished):
    _, records = finished
    for seed in (1, 3):
        history = epochs_of(records, "patient", seed)
        result = next(r for r in records.results if (r.arm, r.seed) == ("patient", seed))
        assert result.epochs == len(history) < 5
        losses = [record.val_loss for record in history]
        assert result.best_epoch == int(np.argmin(losses)) + 1
        assert losses[-1] > min(losses[:-1]) - 0.5, "it waited one epoch without enough improvement"
        sizes = [record.fleet_size for record in epochs_of(records, "none", seed)]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-1] == 2


def test_accuracy_is_that_of_the_predictions_and_mistakes_hold_every_wrong_image(finished):
    _, records = finished
    for result in records.results:
        if result.status == COMPLETED:
            p = records.predictions[result.arm, result.seed]
            assert result.test_accuracy == pytest.approx(100 * (p.labels == p.predicted).mean())
            assert (p.confidence > 0.1).all()
            assert set(p.wrong) <= set(records.mistakes.indices)
    union = set().union(*(set(p.wrong) for p in records.predictions.values()))
    assert union == set(records.mistakes.indices)


def test_pairing_is_in_the_hashes(finished):
    _, records = finished
    for seed in (1, 3):
        rows = [r for r in records.results if r.seed == seed]
        assert len({r.initial_weights_hash for r in rows}) == 1
        assert len({r.data_order_hash for r in rows if r.status == COMPLETED}) == 1
    assert len({r.initial_weights_hash for r in records.results}) == 2


def test_recorded_weights_give_the_recorded_measures(finished):
    outcome, records = finished
    weights = load_file(outcome.directory / "weights" / "patient" / "seed-1.safetensors")
    penalized = np.concatenate([w.ravel() for w in weights.values() if w.ndim >= 2]).astype(np.float64)
    result = next(r for r in records.results if (r.arm, r.seed) == ("patient", 1))
    assert result.weight_norm_l1 == pytest.approx(np.abs(penalized).sum())
    assert result.weight_norm_l2 == pytest.approx(np.sqrt((penalized**2).sum()))
    assert result.zero_fraction == (penalized == 0).mean() > 0
    counted = read_json(outcome.directory / "weights.json")["runs"]
    assert counted.keys() == {"none", "patient"}, "a diverged run has no weights"
    assert counted["patient"]["1"]["zeros"] == (penalized == 0).sum()
    assert sum(counted["patient"]["1"]["bins"]) == (penalized != 0).sum()


@pytest.mark.usefixtures("without_report")
def test_best_val_endpoint_tests_the_best_epoch(tmp_path):
    """With a rate that ruins the last epochs, the tested weights are those of the lowest validation loss."""
    arms: dict[str, Any] = {"none": {}}
    train = {"epochs": 6, "schedule": {"name": "constant"}, "optimizer": {"name": "sgd", "lr": 0.2}}
    outcomes = {}
    for epoch in ("final", "best_val"):
        study = small(arms=arms, seeds=[0], train=train, endpoint={"epoch": epoch})
        main_path.run(study, tmp_path / epoch, data_root=NOWHERE)
        outcomes[epoch] = read_records(tmp_path / epoch)
    best, final = outcomes["best_val"], outcomes["final"]
    assert [r.val_loss for r in best.history] == [r.val_loss for r in final.history]
    assert best.results[0].best_epoch == int(np.argmin([r.val_loss for r in best.history])) + 1
    if best.results[0].best_epoch == 6:
        assert best.results[0].test_loss == final.results[0].test_loss
    else:
        assert best.results[0].test_loss != final.results[0].test_loss


@pytest.mark.usefixtures("without_report")
def test_the_plain_loop_runs_whole_studies_too(tmp_path):
    arms = {"none": {}, "l1": {"l1": 1e-4}}
    train = {"epochs": 1, "precision": "fp32", "schedule": {"name": "constant"}}
    results = []
    for engine in ("fleet", "plain"):
        study = small(arms=arms, seeds=[0, 1], train={**train, "engine": engine})
        main_path.run(study, tmp_path / engine, data_root=NOWHERE)
        results.append(read_records(tmp_path / engine))
    fleet, plain = results
    for one, other in zip(fleet.results, plain.results, strict=True):
        assert (one.arm, one.seed, one.initial_weights_hash) == (
            other.arm,
            other.seed,
            other.initial_weights_hash,
        )
        assert one.data_order_hash == other.data_order_hash
        assert one.test_loss == pytest.approx(other.test_loss, rel=0.02)


@pytest.mark.usefixtures("without_report")
def test_course_protocol_validates_on_the_test_split(tmp_path):
    study = small(
        arms={"none": {}}, seeds=[0], protocol={"kind": "course"}, train={"epochs": 1, "precision": "fp32"}
    )
    main_path.run(study, tmp_path, data_root=NOWHERE)
    records = read_records(tmp_path)
    assert records.history[-1].val_accuracy == pytest.approx(records.results[0].test_accuracy)
    assert records.history[-1].val_loss == pytest.approx(records.results[0].test_loss)


@pytest.mark.usefixtures("without_report")
def test_the_test_split_is_opened_only_after_training(tmp_path, monkeypatch):
    events = []

    def watched(*arguments):
        splits = load(*arguments)

        def open_test():
            events.append("test")
            return splits.open_test()

        from dataclasses import replace

        return replace(splits, open_test=open_test)

    class Listener:
        def started(self, beginning): ...

        def epoch(self, records):
            events.append("epoch")

        def message(self, text): ...

        def finished(self, outcome): ...

    monkeypatch.setattr(setup, "load", watched)
    study = small(arms={"none": {}}, seeds=[0], train={"epochs": 2})
    main_path.run(study, tmp_path, data_root=NOWHERE, progress=Listener())
    assert events[:3] == ["epoch", "epoch", "test"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": {"none": {}, "odd": {"l7": 1}}}, "l7"),
        ({"arms": {"none": {"l1": -1e-4}}}, "arms.none.l1"),
        ({"arms": {"none": {"l1": {"strength": 1e-4, "method": "magic"}}}}, "arms.none.l1.method"),
        ({"data": "emnist"}, "emnist"),
        ({"data": "mnist"}, "data fetch mnist"),
        ({"data": "folder:/not/there"}, "/not/there"),
        ({"data": {"name": "digits", "augment": {"rotate": 400}}}, "data.augment"),
        ({"model": "vgg"}, "vgg"),
        ({"model": {"norm": "magic"}}, "magic"),
        ({"protocol": {"validation": 1437}}, "validation"),
    ],
)
def test_wrong_studies_are_refused_before_anything_is_written(change, message, tmp_path):
    with pytest.raises(UserError, match=message):
        main_path.run(small(**{"arms": {"none": {}}, **change}), tmp_path / "run", data_root=tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(UserError, match="cuda"):
        main_path.run(small(), tmp_path / "run", data_root=NOWHERE, device="cuda")


def test_plan_counts_runs_and_estimates(tmp_path):
    plan = dry_run.plan(small(), data_root=NOWHERE)
    assert plan.runs == 6
    assert sorted(run for fleet in plan.fleets for run in fleet.runs) == sorted(
        (a, s) for a in ARMS for s in (1, 3)
    )
    assert plan.memory_bytes > 10**6
    assert 0 < plan.seconds < 600


@pytest.mark.usefixtures("without_report")
def test_orders_pair_across_fleets_where_an_arm_stops_early(tmp_path):
    """Every run of the plain loop trains alone; the epochs that two runs both trained are what compares."""
    arms = {"none": {}, "patient": ARMS["patient"]}
    train = {"epochs": 4, "precision": "fp32", "engine": "plain"}
    main_path.run(small(arms=arms, seeds=[3], train=train), tmp_path, data_root=NOWHERE)
    records = read_records(tmp_path)
    none, patient = (len(records.orders[arm, 3]) for arm in arms)
    assert patient < none == 4
    assert [result.epochs for result in records.results] == [none, patient]
    assert len({result.data_order_hash for result in records.results}) == 1
    assert compare(records).pairing == {"initial_weights": True, "data_order": True}


@pytest.mark.usefixtures("without_report")
def test_without_pairing_the_arms_of_a_seed_share_nothing(tmp_path):
    study = small(arms={"none": {}, "twin": {}}, seeds=[3], pairing="none", train={"epochs": 1})
    main_path.run(study, tmp_path, data_root=NOWHERE)
    records = read_records(tmp_path)
    assert len({result.initial_weights_hash for result in records.results}) == 2
    assert len({result.data_order_hash for result in records.results}) == 2
    assert len({result.test_loss for result in records.results}) == 2
    comparison = compare(records)
    assert comparison.pairing == {"initial_weights": False, "data_order": False}
    assert "streams of its own" in comparison.note


@pytest.mark.usefixtures("without_report")
def test_a_study_is_not_extended_with_other_data(tmp_path):
    """A folder that gained images between two commands holds another dataset."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for index in range(12):
            pixels = rng.integers(0, 256, (9, 9), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    study = small(arms={"none": {}}, seeds=[0], data=f"folder:{folder}", train={"epochs": 1, "batch_size": 8})
    main_path.run(study, tmp_path / "run", data_root=NOWHERE)
    Image.fromarray(pixels).save(folder / "a" / "more.png")
    longer = study.model_copy(update={"seeds": (0, 1)})
    with pytest.raises(UserError, match="changed since this study was begun: the training images"):
        main_path.run(longer, tmp_path / "run", data_root=NOWHERE)
