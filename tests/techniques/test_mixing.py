"""Mixup and CutMix against the papers' own loops, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import betaincinv
from scipy.stats import kstest

from regulab.data import load
from regulab.errors import UserError
from regulab.techniques import arms_of, stack
from regulab.techniques.cutmix import CutMix, boxes
from regulab.techniques.mixing import SharesOfBeta, mixed, partners
from regulab.techniques.mixup import Mixup
from regulab.training.batch_draws import BatchDraws
from regulab.training.batches import Batches
from regulab.training.fleet import Fleet
from regulab.training.mixing_checks import check_mixing, mixing_notes
from regulab.training.plain import PlainTrainer
from regulab.training.setup import set_up
from regulab.training.trainer import input_plan, objective
from tests.techniques.by_hand import LR, assert_trains_to, setup_with
from tests.training.setups import FLOAT32, FLOAT64, runs_of, setup_of, study_of

EPOCHS, SIZE, STEPS = 2, 20, 3


def numbers(setup, run, epoch):
    """The draws of an epoch as numpy draws them: partner, share, box, each ``(steps, B, columns)``."""
    streams = setup.streams(run.seed)
    found = {}
    for name, columns in (("partner", 1), ("share", 1), ("box", 3)):
        raw = streams.generator("batch", name, epoch).bit_generator.random_raw(60 * columns)
        found[name] = ((raw >> np.uint64(40)) * 2.0**-24).reshape(STEPS, SIZE, columns)
    return found


def trained_by_hand(setup, run, mix, criterion=F.cross_entropy):
    """The loop of mixup's and CutMix's papers: one order and λ a step, two losses with hard labels."""
    module = setup.module(run).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=0.9)
    batches = Batches(setup.images, setup.preprocessing, input_plan(setup, [run], {}), SIZE)
    for epoch in range(1, EPOCHS + 1):
        drawn = numbers(setup, run, epoch)
        for step, (x, labels) in enumerate(batches.epoch(batches.orders(epoch), epoch)):
            x, y = x[:, 0], labels[:, 0]
            order = torch.from_numpy(np.argsort(drawn["partner"][step, :, 0], kind="stable"))
            share, images = mix(x, x[order], drawn["share"][step, 0, 0], drawn["box"][step, 0])
            optimizer.zero_grad()
            logits = module(images.double())
            loss = share * criterion(logits, y) + (1 - share) * criterion(logits, y[order])
            loss.backward()
            optimizer.step()
    return module


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_trains_as_the_papers_loop_does(alpha):
    def mix(x, others, u, box):
        share = float(betaincinv(alpha, alpha, u))
        return share, share * x + (1 - share) * others

    setup, run = setup_with({"mixup": alpha})
    want = trained_by_hand(setup, run, mix)
    for trainer in (Fleet(setup, [run]), PlainTrainer(setup, [run])):
        for epoch in (1, 2):
            trainer.train_epoch(epoch)
        for name, value in trainer.weights().items():
            expected = dict([*want.named_parameters(), *want.named_buffers()])[name]
            torch.testing.assert_close(value[0], expected.detach(), rtol=1e-6, atol=1e-7)  # λ from a table


def test_cutmix_trains_as_the_papers_loop_does():
    def mix(x, others, u, box):
        height, width = x.shape[2:]
        ratio = np.sqrt(1 - betaincinv(1.0, 1.0, u))
        rows, columns = int(height * ratio) // 2, int(width * ratio) // 2
        y, across = int(box[0] * height), int(box[1] * width)
        top, bottom = np.clip([y - rows, y + rows], 0, height)
        left, right = np.clip([across - columns, across + columns], 0, width)
        images = x.clone()
        images[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
        return 1 - (bottom - top) * (right - left) / (height * width), images

    setup, run = setup_with({"cutmix": 1.0})
    assert_trains_to(setup, run, trained_by_hand(setup, run, mix))


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 2.0, 100.0])
def test_the_table_of_shares_is_the_quantile_of_beta(alpha):
    u = torch.rand(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u = torch.cat((u, 10 ** (-8 * u[:100]), torch.tensor([0.0, 0.5, 1 - 2**-24])))
    table = SharesOfBeta([alpha])
    found = torch.cat([table(one[None]) for one in u])
    assert (found - torch.from_numpy(betaincinv(alpha, alpha, u.numpy()))).abs().max() < 1e-6


def test_shares_are_distributed_as_beta_and_a_run_that_does_not_mix_has_one():
    u = np.random.default_rng(3).random(3000, dtype=np.float32)
    table = SharesOfBeta([0.4, None])
    found = torch.stack([table(torch.tensor([v, v])) for v in u.tolist()])
    assert kstest(found[:, 0].numpy(), "beta", args=(0.4, 0.4)).pvalue > 0.01
    assert (found[:, 1] == 1).all()


def test_the_box_has_the_area_that_is_left_over_unless_an_edge_cuts_it_off():
    shares = torch.tensor([0.0, 0.25, 0.75, 1.0], dtype=torch.float64)
    middle = torch.full((4, 2), 0.5)
    areas = boxes(shares, middle, 40, 32).sum((1, 2))
    assert areas.tolist() == [40 * 32, 2 * 17 * 2 * 13, 20 * 16, 0]  # ⌊√0.75·20⌋ = 17, ⌊√0.75·16⌋ = 13
    corner = torch.zeros(4, 2)
    assert boxes(shares, corner, 40, 32).sum((1, 2)).tolist() == [20 * 16, 17 * 13, 10 * 8, 0]
    inside = boxes(shares, torch.tensor([[0.91, 0.2]] * 4), 40, 32)[2]
    assert inside.nonzero().min(0).values.tolist() == [26, 0]
    assert inside.nonzero().max(0).values.tolist() == [39, 13]  # rows 36 ± 10, columns 6 ± 8


def test_cutmix_keeps_the_share_of_the_target_that_it_keeps_of_the_image():
    values = [CutMix(alpha=1.0), None, CutMix(alpha=0.3), CutMix(alpha=1.0, probability=0.01)]
    hooks = CutMix.stack(values)
    x = torch.arange(6.0)[:, None, None, None, None].expand(6, 4, 1, 10, 12).contiguous()
    targets = torch.eye(6)[:, None].repeat(1, 4, 1)
    generator = torch.Generator().manual_seed(4)
    drawn = {name: torch.rand(4, 6, n, generator=generator) for name, n in hooks.draws.items()}
    drawn["share"][:] = 0.4
    images, soft = hooks.batch(x, targets, drawn)
    for run in range(4):
        for image in range(6):
            own = torch.bincount(images[image, run].flatten().long(), minlength=6) / 120
            torch.testing.assert_close(soft[image, run], own)
    assert torch.equal(images[:, 1], x[:, 1])
    assert torch.equal(images[:, 3], x[:, 3])  # a step of the 99 in 100 that are left as they are
    assert not torch.equal(images[:, 0], x[:, 0])


def test_partners_are_a_permutation_of_each_runs_own_images():
    x = torch.randn(7, 3, 2, generator=torch.Generator().manual_seed(0))
    drawn = torch.rand(3, 7, generator=torch.Generator().manual_seed(1))
    found = partners(x, drawn)
    for run in range(3):
        torch.testing.assert_close(found[:, run], x[drawn[run].argsort(), run], rtol=0, atol=0)
    assert torch.equal(mixed(x, found, torch.ones(3)), x)


def test_arms_of_a_seed_share_partners_and_the_numbers_that_shares_follow_from():
    arms = {"none": {}, "weak": {"mixup": 0.2}, "strong": {"mixup": 1.0}, "cut": {"cutmix": 1.0}}
    study = study_of(arms, seeds=2, train={"batch_size": SIZE})
    setup = setup_of(study, 60, machine=FLOAT64)
    runs = runs_of(study)
    fleet, plain = Fleet(setup, runs), PlainTrainer(setup, [runs[1]])
    fleet._begin(2)
    plain._batch_draws.begin(2)
    for step in range(STEPS):
        drawn, alone = fleet._batch_draws.at(step), plain._batch_draws.at(torch.tensor(step))
        want = numbers(setup, runs[1], 2)
        for name, table in drawn.items():
            assert (table[:4] == table[0]).all()
            assert (table[4:] == table[4]).all()
            assert not torch.equal(table[0], table[4])
            torch.testing.assert_close(table[0].double(), torch.from_numpy(want[name][step]), rtol=0, atol=0)
        for name, table in alone.items():
            assert torch.equal(table[0], drawn[name][1])


def test_no_technique_draws_nothing():
    study = study_of({"none": {}})
    hooks = stack([run.techniques for run in runs_of(study)])
    draws = BatchDraws(hooks, [], [], 10, 2, torch.device("cpu"))
    draws.begin(1)
    assert draws.at(0) == {}


@pytest.mark.parametrize("beside", [{}, {"label_smoothing": 0.2}])
def test_with_class_weights_each_label_counts_its_own(beside):
    """As λ·criterion(y) + (1 − λ)·criterion(y′) with torch's weighted, smoothed criterion."""
    _, run = setup_with({"mixup": 1.0, **beside})
    hooks = {name: one for name, one in stack([run.techniques]).items() if name == "label_smoothing"}
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(SIZE, 1, 10, generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (SIZE, 1), generator=generator)
    order = torch.randperm(SIZE, generator=generator)
    weights = torch.rand(10, generator=generator, dtype=torch.float64) + 0.1
    soft = 0.3 * F.one_hot(labels, 10).double() + 0.7 * F.one_hot(labels[order], 10).double()
    plain = F.cross_entropy(logits[:, 0], soft[:, 0], label_smoothing=beside.get("label_smoothing", 0.0))
    torch.testing.assert_close(objective(hooks, logits, soft, None)[0], plain)
    if not beside:
        want = sum(
            share * F.cross_entropy(logits[:, 0], y[:, 0], weight=weights)
            for share, y in ((0.3, labels), (0.7, labels[order]))
        )
        torch.testing.assert_close(objective(hooks, logits, soft, weights)[0], want)
    hard = F.one_hot(labels, 10).double()
    same = objective(hooks, logits, hard, weights), objective(hooks, logits, labels, weights)
    torch.testing.assert_close(*same)


def test_beside_everything_that_changes_the_objective_a_fleet_trains_as_the_plain_loop_does():
    beside = {"label_smoothing": 0.1, "sam": 0.1, "gradient_clipping": 0.5, "ema": 0.8, "cutout": 3}
    arms = {"one": {"mixup": 0.4, **beside}, "other": {"cutmix": 1.0, **beside}}
    train = {"batch_size": SIZE, "class_weights": {"3": 2, "8": 0.4}, "sampling": "balanced"}
    study = study_of(arms, model={"dropout": 0.1}, seeds=2, train=train)
    setup = setup_of(study, 60, machine=FLOAT64)
    runs = runs_of(study)
    fleet = Fleet(setup, runs)
    for epoch in (1, 2):
        fleet.train_epoch(epoch)
    for row, run in enumerate(runs):
        plain = PlainTrainer(setup, [run])
        for epoch in (1, 2):
            plain.train_epoch(epoch)
        for name, value in plain.weights().items():
            torch.testing.assert_close(fleet.weights()[name][row], value[0], rtol=1e-8, atol=1e-9)


def test_an_arm_mixes_with_one_of_them():
    with pytest.raises(UserError, match="contradict each other"):
        arms_of(study_of({"both": {"mixup": 0.2, "cutmix": 1.0}}))


@pytest.mark.parametrize("bad", [0, -1, 101, {"alpha": 0.2, "probability": 1.0}])
def test_no_distribution_no_mixup(bad):
    with pytest.raises(UserError, match=r"arms\.mixed\.mixup"):
        arms_of(study_of({"mixed": {"mixup": bad}}))


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_a_batch_of_one_image_is_refused(name, tmp_path):
    study = study_of({"none": {}, "mixed": {name: 1.0}}, train={"batch_size": 1}, model={"norm": "none"})
    with pytest.raises(UserError, match="a batch has one") as refused:
        set_up(study, load(study.data, study.protocol, tmp_path))
    assert f"arms.mixed.{name}" in str(refused.value)


def test_images_of_one_class_are_refused():
    setup = setup_of(study_of({"mixed": {"mixup": 1.0}}), 150, machine=FLOAT32)
    setup.splits.train.labels[:] = 3
    with pytest.raises(UserError, match="the class “3” alone"):
        check_mixing(setup)


def test_a_note_tells_what_training_curves_are_of():
    setup = setup_of(study_of({"none": {}, "a": {"mixup": 0.2}, "b": {"l2": 1e-3, "cutmix": 1}}), 60)
    (note,) = mixing_notes(setup)
    assert "cutmix" in note
    assert "mixup" in note
    assert "none" not in note
    assert mixing_notes(setup_of(study_of({"none": {}, "b": {"label_smoothing": 0.1}}), 60)) == []


def test_the_mixed_batch_is_what_is_recorded_of_an_epoch(monkeypatch):
    setup, run = setup_with({"mixup": Mixup(alpha=1.0).model_dump()})
    trainer, seen = PlainTrainer(setup, [run]), []
    forward = trainer._forward
    monkeypatch.setattr(trainer, "_forward", lambda x: seen.append(forward(x)) or seen[-1])
    totals = trainer.train_epoch(1)
    labels = setup.images.labels[trainer._batches.orders(1)[0][:60]].view(STEPS, SIZE)
    right = sum(
        float((logits.argmax(1) == own).double().mean()) for logits, own in zip(seen, labels, strict=True)
    )
    assert float(totals.accuracy) == pytest.approx(100 * right / STEPS)
