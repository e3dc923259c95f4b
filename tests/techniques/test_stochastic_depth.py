"""Stochastic depth: torchvision's equation, the linear rule, and which blocks of a person's network it finds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regulab.errors import UserError
from regulab.models import weights_hash
from regulab.models.layers.dropout import threshold
from regulab.models.layers.residual import BasicBlock
from regulab.models.layers.stochastic_depth import StochasticDepth
from regulab.models.norms.batch import Batch
from regulab.techniques.stochastic_depth import StochasticDepthTechnique
from regulab.training.fleet import Fleet
from regulab.training.kernels.fusing import FusedResidual
from regulab.training.plain import PlainTrainer
from regulab.training.planning import plan_fleets
from tests.cases import own
from tests.training.setups import FLOAT64, FUSED, ON_DEVICE, runs_of, setup_of, study_of


def torchvisions(x, p, mode, noise):
    """As `torchvision.ops.stochastic_depth` has it, its Bernoulli(1 − p) numbers given."""
    survival = 1.0 - p
    size = [x.shape[0] if mode == "row" else 1] + [1] * (x.ndim - 1)
    return x * noise.view(size).to(x.dtype).div(survival)


@pytest.mark.parametrize("shape", [(6, 3, 4, 5), (6, 3, 1, 1), (6, 7), (1, 3, 5, 5)], ids=str)
@pytest.mark.parametrize("mode", ["row", "batch"])
def test_it_is_torchvisions_equation(shape, mode):
    rate, layer = 0.375, StochasticDepth(0.375, mode).train()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for seed in range(3):
        count = shape[0] if mode == "row" else 1
        generator = torch.Generator().manual_seed(seed)
        draws = torch.randint(-(2**15), 2**15, (count,), generator=generator, dtype=torch.int16)
        layer.draw = draws.view
        want = torchvisions(x, rate, mode, draws >= threshold(rate))
        torch.testing.assert_close(layer(x), want)
    assert torch.equal(layer.eval()(x), x)


def test_a_dropped_branch_leaves_the_shortcut_and_a_kept_one_is_scaled():
    block = BasicBlock(3, 3, 1, Batch(), 0.0, projects=True).double()
    found = StochasticDepthTechnique(rate=0.25).edit(block)
    assert found is block
    low, high = -(2**15), 2**15 - 1
    assert isinstance(block.drop_path, StochasticDepth)
    block.drop_path.draw = lambda shape: torch.tensor([low, high], dtype=torch.int16).view(shape)
    x = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y, branch = block.train()(x), block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    torch.testing.assert_close(y[0], F.relu(x[0]))
    torch.testing.assert_close(y[1], F.relu(branch[1] / 0.75 + x[1]))
    torch.testing.assert_close(
        block.eval()(x), F.relu(block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x))))) + x)
    )


RESNET = {"name": "resnet20", "depth": 8, "args": {"width": 4}, "dropout": 0.1}
ARMS = {
    "none": {},
    "deep": {"stochastic_depth": 0.6},
    "less": {"stochastic_depth": 0.2, "l1": 1e-3, "dropout": 0.4},
    "batch": {"stochastic_depth": {"rate": 0.5, "mode": "batch"}, "ema": 0.5},
    "even": {"stochastic_depth": {"rate": 0.4, "rule": "uniform"}, "sam": 0.1},
}


def rates(module):
    return [layer.rate for layer in module.modules() if isinstance(layer, StochasticDepth)]


def test_rates_rise_to_the_last_block_and_the_rest_of_the_network_stays():
    setup = setup_of(study_of(ARMS, model=RESNET, seeds=1), 24)
    assert setup.architectures == [("none",), ("deep", "less"), ("batch",), ("even",)]
    modules = {run.arm: setup.module(run) for run in runs_of(setup.study)}
    assert len({weights_hash(module) for module in modules.values()}) == 1
    trained = {run.arm: rates(PlainTrainer(setup, [run])._module) for run in runs_of(setup.study)}
    assert trained["none"] == []
    assert trained["deep"] == pytest.approx([0.2, 0.4, 0.6])
    assert trained["less"] == pytest.approx([0.2 / 3, 0.4 / 3, 0.2])
    assert trained["even"] == [0.4] * 3


@pytest.mark.parametrize("machine", [FLOAT64, ON_DEVICE], ids=["host", "device"])
def test_a_run_in_a_fleet_is_what_it_is_alone_and_goes_on_from_its_state(machine):
    setup = setup_of(study_of(ARMS, model=RESNET, seeds=2, train={"batch_size": 11}), 24, machine=machine)
    runs = {(run.arm, run.seed): run for run in runs_of(setup.study)}
    for group in setup.architectures[1:]:
        together = [runs[arm, seed] for seed in (0, 1) for arm in group]
        fleet, resumed = Fleet(setup, together), Fleet(setup, together)
        first = fleet.train_epoch(1).loss
        resumed.load_state({name: tensor.clone() for name, tensor in fleet.state().items()})
        losses, again = fleet.train_epoch(2).loss, resumed.train_epoch(2).loss
        assert torch.equal(losses, again)
        for row, run in enumerate(together):
            alone = PlainTrainer(setup, [run])
            torch.testing.assert_close(alone.train_epoch(1).loss[0], first[row], rtol=1e-9, atol=1e-10)
            torch.testing.assert_close(alone.train_epoch(2).loss[0], losses[row], rtol=1e-8, atol=1e-9)
            for name, value in alone.weights().items():
                torch.testing.assert_close(value[0], fleet.weights()[name][row], rtol=1e-7, atol=1e-8)


def test_the_kernels_of_a_residual_block_do_not_skip_it():
    if not FUSED.kernels:
        pytest.skip("no kernels on this machine")
    setup = setup_of(study_of(ARMS, model=RESNET, seeds=1), 24, machine=FUSED)
    runs = [run for run in runs_of(setup.study) if run.arm in ("deep", "less")]
    fleet = Fleet(setup, runs)
    assert any(isinstance(layer, FusedResidual) for layer in fleet._stack.modules())
    losses = fleet.train_epoch(1).loss
    for row, run in enumerate(runs):
        torch.testing.assert_close(
            losses[row], PlainTrainer(setup, [run]).train_epoch(1).loss[0], rtol=2e-4, atol=0
        )
    bare = PlainTrainer(setup, [replace(runs[0], techniques=())]).train_epoch(1).loss[0]
    assert abs(float(losses[0] - bare)) > 1e-2


BLOCKS = '''
class Block(nn.Module):
    """As torchvision writes it."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class Narrow(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, 2, 1), nn.BatchNorm2d(2)
        self.conv2, self.bn2 = nn.Conv2d(2, 2, 3, stride, 1), nn.BatchNorm2d(2)
        self.conv3, self.bn3 = nn.Conv2d(2, outputs, 1), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x):
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        return torch.relu(self.shortcut(x) + self.bn3(self.conv3(out)))


class Before(nn.Module):
    """Norms before convolutions: the branch ends with a convolution."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x):
        out = self.conv1(torch.relu(self.bn1(x)))
        return self.conv2(torch.relu(self.bn2(out))) + self.shortcut(x)


class DropPath(nn.Module):
    def __init__(self, drop_prob=0.0):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        if self.drop_prob == 0.0 or not self.training:
            return x
        return x * torch.bernoulli(torch.full((len(x), 1, 1, 1), 1 - self.drop_prob)) / (1 - self.drop_prob)


class Paths(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.mix, self.up = nn.Conv2d(inputs, outputs, 3, stride, 1), nn.Conv2d(outputs, outputs, 1)
        self.drop_path1, self.drop_path2 = DropPath(0.3), nn.Identity()
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x):
        y = self.shortcut(x) + self.drop_path1(self.mix(x))
        return torch.relu(y + self.drop_path2(self.up(y)))


class Straight(Block):
    """The layers of a block, and no shortcut."""

    def forward(self, x):
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))


class Joined(Block):
    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        return torch.cat([identity, self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))], 1)
'''
NET = """
def __init__(self, in_channels, classes):
    super().__init__(in_channels, classes)
    self.blocks = nn.Sequential({kind}(in_channels, 4), {kind}(4, 4, 2), {kind}(4, 4))

def features(self, x):
    return self.blocks(x).mean((2, 3))
"""


def written(tmp_path, kind):
    body = NET.format(kind=kind)
    if kind == "Joined":
        body = body.replace("(4, 4, 2)", "(8, 4, 2)").replace("Joined(4, 4)", "Joined(8, 4)")
        body = body.replace("\n\n", "\n    self.head = nn.Linear(8, classes)\n\n", 1)
    file = own.write(tmp_path, Net=body)
    head, tail = file.read_text().split("class Net", 1)
    file.write_text(f"{head}{BLOCKS}\n\nclass Net{tail}")
    return f"{file}:Net"


@pytest.mark.parametrize(
    ("kind", "ends"),
    [("Block", ["bn2.drop_path"]), ("Narrow", ["bn3.drop_path"]), ("Before", ["conv2.drop_path"]),
     ("Paths", ["drop_path1", "drop_path2"])],
)  # fmt: skip
@pytest.mark.parametrize("engine", ["fleet", "vmap"])
def test_blocks_of_a_persons_network_are_found_by_what_they_do(tmp_path, kind, ends, engine):
    """Parameters keep names and values; a fleet trains as the plain loop does, and draws anew in every pass."""
    arms = {"none": {}, "some": {"stochastic_depth": 0.3}, "more": {"stochastic_depth": 0.6}}
    setup = own.prepared(own.study_of(written(tmp_path, kind), arms, train={"engine": engine}))
    runs = {run.arm: run for run in runs_of(setup.study)}
    none, some = setup.module(runs["none"]), setup.module(runs["some"])
    assert list(none.state_dict()) == list(some.state_dict())
    assert weights_hash(none) == weights_hash(some)
    found = {name for name, layer in some.named_modules() if isinstance(layer, StochasticDepth)}
    assert found == {f"blocks.{k}.{end}" for k in range(3) for end in ends}
    assert rates(PlainTrainer(setup, [runs["more"]])._module) == pytest.approx(
        [0.2] * len(ends) + [0.4] * len(ends) + [0.6] * len(ends)
    )
    plans = plan_fleets(setup, (0,))
    assert (plans[-1].engine, len(plans[-1].runs)) in own.planned(engine, 2)
    machine = replace(FUSED, kernels=FUSED.kernels and engine == "fleet")
    fleet = Fleet(replace(setup, machine=machine), [runs["some"], runs["more"]], engine)
    losses = fleet.train_epoch(1).loss
    for row, run in enumerate(fleet.runs):
        torch.testing.assert_close(
            losses[row], PlainTrainer(setup, [run]).train_epoch(1).loss[0], rtol=2e-4, atol=0
        )
    assert losses[0] != losses[1]


@pytest.mark.parametrize("kind", ["Straight", "Joined"])
def test_blocks_without_a_sum_are_not_taken_for_residual_ones(tmp_path, kind):
    arms = {"none": {}, "deep": {"stochastic_depth": 0.3}}
    with pytest.raises(
        UserError, match=r"arms\.deep\.stochastic_depth: .*finds nothing to change.*out \+ shortcut"
    ):
        own.prepared(own.study_of(written(tmp_path, kind), arms))


def test_nets_without_blocks_are_refused_with_what_it_looks_for():
    setup = setup_of(study_of({"none": {}, "deep": {"stochastic_depth": 0.3}}, model={"name": "cnn10k"}), 24)
    with pytest.raises(UserError, match="residual blocks: those of resnet18 and resnet20") as raised:
        setup.module(runs_of(setup.study)[1])
    assert raised.value.where == "arms.deep.stochastic_depth"


def test_in_bfloat16_the_scale_is_not_rounded():
    layer = StochasticDepth(0.05).train()
    layer.draw = lambda shape: torch.full(shape, 2**15 - 1, dtype=torch.int16)
    x = torch.full((2, 3, 4, 4), 100.0)
    assert float((layer(x.bfloat16()).float() / layer(x) - 1).abs().max()) < 2**-8
    assert nn.Sequential(layer)(x.bfloat16()).dtype == torch.bfloat16
