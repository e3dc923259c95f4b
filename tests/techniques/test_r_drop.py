"""R-Drop against two passes written out; its copies, their draws, and networks that drop nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from regulab.errors import UserError
from regulab.models.hashed_draws import HashedDraws
from regulab.models.layers.dropout import DropoutDraws, SeedDraws
from regulab.streams import Streams
from regulab.techniques import parse, stack
from regulab.training.checks import check_model
from regulab.training.copies import Copies
from regulab.training.fleet import Fleet
from regulab.training.notes import notes
from regulab.training.plain import PlainTrainer
from regulab.training.trainer import objective
from tests.cases import own
from tests.techniques.by_hand import assert_trains_to, by_hand, setup_with
from tests.training.setups import FLOAT64, FUSED, ON_DEVICE, runs_of, setup_of, study_of

ALPHA = 1.7
TWICE = Copies(2, torch.nn.Identity())


def divergence(p, q):
    """KL(p‖q), of each image, by torch's own."""
    return F.kl_div(q.log_softmax(-1), p.log_softmax(-1), log_target=True, reduction="none").sum(-1)


def r_drop(first, second, labels, alpha=ALPHA):
    """As in the paper, with the mean of both cross-entropies."""
    both = (divergence(first, second) + divergence(second, first)).mean()
    return (F.cross_entropy(first, labels) + F.cross_entropy(second, labels)) / 2 + alpha / 2 * both


def test_of_two_runs_the_objective_is_the_papers():
    generator = torch.Generator().manual_seed(9)
    logits = 2 * torch.randn(10, 2, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 3, 1, 2, 2])[:, None].expand(-1, 2)
    hooks = stack([(parse("r_drop", alpha, "arm"),) for alpha in (ALPHA, 0.2)])
    got = objective(hooks, logits, TWICE.of(labels), None)
    want = [r_drop(logits[:5, run], logits[5:, run], labels[:, 0], a) for run, a in enumerate((ALPHA, 0.2))]
    torch.testing.assert_close(got, torch.stack(want))


def test_with_class_weights_an_images_divergence_counts_as_its_loss():
    generator = torch.Generator().manual_seed(9)
    logits = 2 * torch.randn(6, 1, 3, generator=generator, dtype=torch.float64)
    labels, weights = torch.tensor([0, 2, 1]), torch.tensor([0.3, 1.0, 4.0]).double()
    first, second = logits[:3, 0], logits[3:, 0]
    each = (
        F.cross_entropy(first, labels, reduction="none") + F.cross_entropy(second, labels, reduction="none")
    ) / 2
    each = each + ALPHA / 2 * (divergence(first, second) + divergence(second, first))
    want = (weights[labels] * each).sum() / weights[labels].sum()
    got = objective(stack([(parse("r_drop", ALPHA, "arm"),)]), logits, TWICE.of(labels[:, None]), weights)
    assert float(got) == pytest.approx(float(want))


def test_it_trains_as_two_passes_written_out():
    """The second pass of dropout has streams of its own; the first one's are those of any other arm."""
    setup, run = setup_with({"r_drop": ALPHA, "dropout": 0.3})
    streams = setup.streams(run.seed)
    draws, begun = DropoutDraws(streams), [0]

    def step(module, optimizer, x, labels):
        if begun[0] % 3 == 0:  # three steps an epoch
            draws.begin(begun[0] // 3 + 1)
        begun[0] += 1

        def draw(name, shape):
            half = torch.Size((shape[0] // 2, *shape[1:]))
            return torch.cat([draws.draw(name, half), draws.draw(f"{name} copy 2", half)])

        for name, layer in module.named_modules():
            if hasattr(layer, "rate"):
                layer.rate, layer.draw = 0.3, lambda shape, name=name: draw(name, shape)
        optimizer.zero_grad()
        first, second = module(torch.cat([x, x])).chunk(2)
        r_drop(first, second, labels).backward()
        optimizer.step()

    assert_trains_to(setup, run, by_hand(setup, run, step))


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (6, 4), (6, 4, 5)], ids=len)
def test_the_first_copy_has_the_draws_of_arms_that_pass_once(shape):
    both, half = torch.Size(shape), torch.Size((3, *shape[1:]))
    streams = Streams("study", 3)
    for make, seeds in (
        (lambda: DropoutDraws(streams), 0),
        (lambda: SeedDraws([streams, Streams("study", 4)]), 2),
        (lambda: HashedDraws([streams, Streams("study", 4)], torch.device("cpu")), 2),
    ):
        once, twice = make(), make()
        once.begin(2)
        twice.begin(2)
        drawing = TWICE.draws(twice.draw)
        for _ in range(2):
            got: Any = drawing("layer", both)
            want: Any = once.draw("layer", half)
            if not seeds:
                got, want = [got], [want]
            assert len(got) == len(want) == max(1, seeds)
            for one, other in zip(got, want, strict=True):
                assert one.shape == both
                assert torch.equal(one[:3], other)
                assert not torch.equal(one[3:], other)
                if len(shape) == 4:
                    assert one.is_contiguous(memory_format=torch.channels_last), "which kernels read"


def test_at_alpha_0_a_first_step_is_the_mean_over_both_draws():
    """Recorded are the plain losses of both passes."""
    study = study_of({"none": {}, "r": {"r_drop": 3.0}, "0": {"r_drop": 0}}, model={"dropout": 0.3}, seeds=1)
    setup = setup_of(study, 37, machine=FLOAT64)
    for trainer in (Fleet, PlainTrainer):
        first = [trainer(setup, [run]).train_epoch(1).loss for run in runs_of(study)]
        assert first[1] == first[2], "before the first step the strength moves no recorded loss"
        assert first[0] != first[1]
        assert (first[0] - first[1]).abs() < 0.2


@pytest.mark.parametrize("machine", [FUSED, ON_DEVICE], ids=["kernels", "device"])
def test_a_fleet_is_the_plain_loop(machine):
    arms = {"r": {"r_drop": 3.0}, "l2": {"r_drop": 0.5, "l2": 1e-2, "dropout": 0.4}}
    study = study_of(arms, model={"dropout": 0.2}, seeds=2, train={"batch_size": 20})
    setup, runs = setup_of(study, 60, machine=machine), runs_of(study)
    fleet = Fleet(setup, runs)
    fleet.train_epoch(1)
    tight = machine.parameters == torch.float64
    for row, run in enumerate(runs):
        plain = PlainTrainer(setup, [run])
        plain.train_epoch(1)
        for name, value in plain.weights().items():
            rtol, atol = (1e-9, 1e-11) if tight else (2e-3, 2e-4)
            torch.testing.assert_close(fleet.weights()[name][row], value[0], rtol=rtol, atol=atol)


def test_others_keep_their_fleet_and_it_is_said():
    arms = {"none": {}, "r": {"r_drop": 1.0}, "l2": {"l2": 1e-3}, "s": {"r_drop": 2.0}}
    setup = setup_of(study_of(arms, model={"dropout": 0.1}))
    assert setup.architectures == [("none", "l2"), ("r", "s")]
    assert (
        "r_drop passes every image 2 times in a step: its arms “r”, “s” train in fleets of their own"
        in notes(setup)
    )


def test_where_nothing_is_dropped_it_is_refused():
    setup = setup_of(study_of({"none": {}, "r": {"r_drop": 1.0, "dropout": 0.0}}, model={"dropout": 0.1}))
    with pytest.raises(UserError, match="all passes are the same") as raised:
        check_model(setup)
    assert raised.value.where == "arms.r.r_drop"
    check_model(setup_of(study_of({"none": {}, "r": {"r_drop": 1.0}}, model={"dropout": 0.1})))


def test_what_is_dropped_of_the_weights_is_the_same_for_both_passes():
    """So it alone is refused, and beside dropout its draws are those of the seed's other arms."""
    arms = {"none": {}, "r": {"r_drop": 1.0, "drop_connect": 0.3, "dropout": 0.0}}
    with pytest.raises(UserError, match="all passes are the same"):
        check_model(setup_of(study_of(arms)))
    arms = {"once": {"drop_connect": 0.3}, "twice": {"r_drop": 0.0, "drop_connect": 0.3}}
    setup = setup_of(study_of(arms, model={"dropout": 0.1}, seeds=1), 37, machine=FLOAT64)
    check_model(setup)
    seen = []
    for run in runs_of(setup.study):
        for trainer in (PlainTrainer(setup, [run]), Fleet(setup, [run])):
            network = getattr(trainer, "_module", None) or trainer._stack
            trainer._draws.begin(1)
            layer = next(one for name, one in network.named_modules() if name.endswith("conv.reweight"))
            drawn = layer.draw(torch.Size((16, 1, 3, 3)))
            seen.append(drawn[0] if isinstance(drawn, list) else drawn)
    assert all(torch.equal(one, seen[0]) for one in seen)


DRAWS = {
    "Calls": "def forward(self, x):\n    return self.head(F.dropout(self.features(x), 0.2, self.training))",
    "Torch": "def forward(self, x):\n    return self.head(self.features(x) + torch.randn(len(x), 4) * self.training)",
    "Nothing": "pass",
    "Off": "def forward(self, x):\n    return self.head(F.dropout(self.features(x), 0.0, self.training))",
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_persons_network_may_draw_in_any_way(tmp_path, name):
    study = own.study_of(f"{own.write(tmp_path, **DRAWS)}:{name}", {"none": {}, "r": {"r_drop": 1.0}})
    if name in ("Nothing", "Off"):
        with pytest.raises(UserError, match="all passes are the same"):
            own.prepared(study)
    else:
        own.prepared(study)
