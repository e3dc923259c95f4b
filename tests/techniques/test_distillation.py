"""Distillation against torch's own KL divergence, its gradient in closed form, and what is refused of teachers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from regulab.config import Study
from regulab.errors import UserError
from regulab.techniques import arms_of, legends, parse, stack
from regulab.techniques.confidence_penalty import ConfidencePenalty
from regulab.techniques.distillation import Distillation
from regulab.techniques.label_smoothing import LabelSmoothing
from regulab.training.loop import make_trainer
from regulab.training.teaching import Teacher
from regulab.training.trainer import objective
from tests.techniques.by_hand import EPOCHS, LR, by_hand
from tests.training.setups import FLOAT64, fleet_of, setup_of, study_of

VALUES = [
    Distillation(teacher="none", temperature=3, weight=0.3),
    None,
    Distillation(teacher="none", temperature=0.5, weight=1),
    Distillation(teacher="other", temperature=1, weight=0),
]


def sample():
    generator = torch.Generator().manual_seed(4)
    z, teacher = (3 * torch.randn(7, 4, 5, generator=generator).double() + 0.2 for _ in range(2))
    labels = torch.randint(5, (7, 4), generator=generator)
    return z.requires_grad_(), teacher, labels


def test_its_gradient_is_the_closed_form():
    """Of the logits: (w·T·(softmax(z/T) − softmax(z_t/T)) + (1 − w)(p − y))/B, each run with T and w of its own."""
    z, teacher, labels = sample()
    losses = F.cross_entropy(z.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
    hook = Distillation.stack(VALUES).taught
    assert hook is not None
    (got,) = torch.autograd.grad(hook(losses, z, teacher, labels).mean(0).sum(), z)
    for run, value in enumerate(VALUES):
        t, w = (value.temperature, value.weight) if value else (1.0, 0.0)
        one, truth = z[:, run].detach(), F.one_hot(labels[:, run], 5)
        apart = (one / t).softmax(-1) - (teacher[:, run] / t).softmax(-1)
        want = (w * t * apart + (1 - w) * (one.softmax(-1) - truth)) / len(z)
        torch.testing.assert_close(got[:, run], want, rtol=1e-10, atol=1e-12)


def test_its_value_is_torchs():
    z, teacher, labels = sample()
    losses = F.cross_entropy(z.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
    hook = Distillation.stack(VALUES).taught
    assert hook is not None
    got = hook(losses, z, teacher, labels).mean(0)
    apart = F.kl_div((z[:, 0] / 3).log_softmax(-1), (teacher[:, 0] / 3).softmax(-1), reduction="batchmean")
    torch.testing.assert_close(got[0], 0.7 * losses[:, 0].mean() + 0.3 * 9 * apart)


def test_labels_play_no_part_at_weight_1_and_teachers_none_at_0():
    z, teacher, labels = sample()
    hook = Distillation.stack(VALUES).taught
    assert hook is not None
    ones, twos = torch.ones(labels.shape).double(), torch.full(labels.shape, 2.0).double()
    first, second = hook(ones, z, teacher, labels), hook(twos, z, -teacher, labels)
    assert torch.equal(hook(ones, z, teacher, labels)[:, 2], hook(twos, z, teacher, labels)[:, 2])
    assert torch.equal(first[:, 3], ones[:, 3])
    assert torch.equal(second[:, 3], twos[:, 3])


TAUGHT = {"taught": {"distillation": {"teacher": "none", "temperature": 2.5, "weight": 0.6}}}
ARMS = {
    "none": {"dropout": 0.4, "norm": {"name": "batch", "position": "after"}, "ema": 0.5},
    **TAUGHT,
    "as without": {"distillation": {"teacher": "none", "temperature": 1, "weight": 0}},
    "without": {},
}


@pytest.fixture(scope="module")
def setup():
    optimizer = {"name": "sgd", "lr": LR, "momentum": 0.9}
    train = {"optimizer": optimizer, "schedule": {"name": "constant"}, "batch_size": 20, "epochs": EPOCHS}
    data = {"augment": {"rotate": 20, "translate": 0.1}}
    study = study_of(ARMS, train=train, model={"dropout": 0.0}, data={"name": "digits", **data}, seeds=1)
    return setup_of(study, 60, machine=FLOAT64)


@pytest.fixture(scope="module")
def teacher(setup):
    """The first arm's run after an epoch, as it is evaluated: with averaged weights."""
    trainer = make_trainer("plain", setup, [setup.run("none", 0)])
    trainer.train_epoch(1)
    return {name: value[0].clone() for name, value in trainer.weights().items()}


@pytest.mark.parametrize("engine", ["fleet", "plain"])
@pytest.mark.parametrize("teachers", ["fleet", "plain"])
def test_it_trains_as_by_hand(setup, teacher, engine, teachers):
    """With torch's own divergence; the teacher is its module in inference mode, on the same augmented images."""
    network = setup.module(setup.run("none", 0))
    network.load_state_dict(teacher, strict=True)
    network.eval()

    def step(module, optimizer, x, labels):
        optimizer.zero_grad()
        z = module(x)
        with torch.no_grad():
            wanted = (network(x) / 2.5).softmax(-1)
        divergence = F.kl_div((z / 2.5).log_softmax(-1), wanted, reduction="batchmean")
        (0.4 * F.cross_entropy(z, labels) + 0.6 * 2.5**2 * divergence).backward()
        optimizer.step()

    run = setup.run("taught", 0)
    want = by_hand(setup, run, step)
    known = {("none", 0): Teacher(teachers, FLOAT64, teacher)}
    trainer = make_trainer(engine, setup, [run], known)
    for epoch in range(1, EPOCHS + 1):
        trainer.train_epoch(epoch)
    weights = trainer.weights()
    for name, value in (*want.named_parameters(), *want.named_buffers()):
        torch.testing.assert_close(weights[name][0], value.detach(), rtol=1e-9, atol=1e-11)


def test_wrong_labels_reach_a_student_of_weight_1_through_its_teacher_alone(teacher):
    """`data.label_noise` changes the training labels of every arm, the teacher's too, and no validation label."""
    arms = {"none": ARMS["none"], "all": {"distillation": {"teacher": "none", "weight": 1}}, **TAUGHT}
    losses: dict[str, list[torch.Tensor]] = {"all": [], "taught": []}
    labels = []
    for noise in (None, 0.5):
        study = study_of(
            arms, data={"name": "digits", "label_noise": noise}, seeds=1, train={"batch_size": 20}
        )
        given = setup_of(study, 60, machine=FLOAT64)
        labels.append((given.images.labels, given.splits.validation.labels))
        for arm, found in losses.items():
            known = {("none", 0): Teacher("plain", FLOAT64, teacher)}
            trainer = make_trainer("plain", given, [given.run(arm, 0)], known)
            trainer.train_epoch(1)
            found.append(torch.cat([value.flatten().clone() for value in trainer.weights().values()]))
    assert not torch.equal(labels[0][0], labels[1][0])
    assert (labels[0][1] == labels[1][1]).all()
    assert torch.equal(*losses["all"])
    assert not torch.equal(*losses["taught"])


def test_with_weight_0_it_trains_as_if_absent(setup):
    absent, zero = (fleet_of(setup, [setup.run(arm, 0)]) for arm in ("without", "as without"))
    for epoch in (1, 2):
        assert torch.equal(absent.train_epoch(epoch).loss, zero.train_epoch(epoch).loss)
    for name, value in absent.weights().items():
        assert torch.equal(value, zero.weights()[name]), name


def test_the_recorded_loss_is_the_cross_entropy(setup):
    """Of the first batch, at equal weights, before anything was learned."""
    losses = []
    for arm in ("without", "taught"):
        fleet = fleet_of(setup, [setup.run(arm, 0)])
        fleet._begin(1)
        fleet._advance()
        losses.append(fleet._sums.loss)
    assert losses[0] == losses[1]


def test_the_legend_names_the_teacher():
    told = legends(study_of(ARMS))
    assert told["taught"] == "taught (distilled from “none”, T=2.5, w=0.6)"


def test_a_student_of_what_was_selected_on_the_test_split_says_so():
    arms = {
        "none": {},
        "stops": {"early_stopping": 2},
        "a": {"distillation": "stops"},
        "b": {"distillation": "a"},
    }
    told = legends(study_of(arms, protocol={"kind": "course"}))
    for arm in ("stops", "a", "b"):
        assert told[arm].endswith("selected on the test split)")
    assert "test split" not in told["none"]


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        (
            {"none": {}, "kd": {"distillation": "nnoe"}},
            r"kd.distillation.*no such arm.*nnoe.*did you mean none",
        ),
        (
            {"none": {}, "kd": {"distillation": "kd"}},
            r"kd.distillation.*cannot learn from itself.*one of none",
        ),
        (
            {"none": {}, "a": {"distillation": "b"}, "b": {"distillation": {"teacher": "a"}}},
            r"learn from each other.*'a ← b ← a'",
        ),
        (
            {"none": {}, "d": {"distillation": "a"}, "a": {"distillation": "b"}, "b": {"distillation": "a"}},
            r"arms.a.distillation: arms that learn from each other.*'a ← b ← a'",
        ),
        ({"none": {"distillation": "kd"}}, r"no such arm.*another arm, which there is none of"),
    ],
    ids=["unknown", "itself", "two", "into a circle", "alone"],
)
def test_a_teacher_that_cannot_be_is_refused(arms, words):
    with pytest.raises(UserError, match=words):
        arms_of(Study(arms=arms))


@pytest.mark.parametrize(
    "said",
    [
        {"teacher": "none", "temperature": 0},
        {"teacher": "none", "weight": 1.1},
        {"teacher": "none", "weight": -0.1},
        {"temperature": 2},
        {"teacher": ""},
        {"teacher": "none", "temprature": 2},
    ],
    ids=["cold", "more than all", "negative", "nobody", "blank", "unknown key"],
)
def test_bad_values_are_refused(said):
    with pytest.raises(UserError, match=r"kd\.distillation"):
        parse("distillation", said, "arms.kd")


def test_a_name_is_asked_for_where_there_is_none():
    with pytest.raises(UserError, match=r"neither a name nor a mapping.*write `\{distillation: none\}`"):
        parse("distillation", 4, "arms.kd")


def test_smoothed_labels_are_shared_with_the_teacher_and_other_terms_are_added_in_full():
    """(1 − w)·(smoothed CE) + w·T²·KL − β·H, whatever the names' order in the alphabet."""
    z, teacher, labels = (tensor[:, :1] for tensor in sample())
    kd = Distillation(teacher="none", temperature=3, weight=0.3)
    smooth, confident = LabelSmoothing(epsilon=0.2), ConfidencePenalty(beta=0.5)
    got = objective(stack([(confident, kd, smooth)]), z, labels, None, teachers=teacher)
    plain, alone = (objective(stack([arm]), z, labels, None) for arm in ((), (confident,)))
    smoothed = F.cross_entropy(z[:, 0], labels[:, 0], label_smoothing=0.2)
    apart = F.kl_div((z[:, 0] / 3).log_softmax(-1), (teacher[:, 0] / 3).softmax(-1), reduction="batchmean")
    torch.testing.assert_close(got[0], 0.7 * smoothed + 0.3 * 9 * apart + (alone - plain)[0])
