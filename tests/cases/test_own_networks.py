"""Networks as people bring them: each trains rightly, or is refused before training with the cure."""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from regulab.errors import UserError
from regulab.models.parameters import trained_weight_names
from regulab.training.plain import PlainTrainer
from regulab.training.planning import plan_fleets
from regulab.training.setup import Run
from tests.cases.own import notes_of, prepared, study_of, trained, trained_in_pieces, write

INIT = "def __init__(self, in_channels, classes):\n    super().__init__(in_channels, classes)\n"

OLD_STYLE = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")

REFUSED = {
    "InPlace": (
        INIT + "    self.net = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(0.3, inplace=True))\n"
        "def forward(self, x):\n    return self.head(self.net(self.conv(x)).mean((2, 3)))",
        r"backward pass fails, in step 1: .*inplace operation.*; expected no in-place operation.*x = x \+ y",
    ),
    "Cuda": (
        "def forward(self, x):\n    raise AssertionError('Torch not compiled with CUDA enabled')",
        r"cannot take these images.*expected no \.cuda\(\)",
    ),
    "MadeOnCuda": (
        "def __init__(self):\n    raise AssertionError('Torch not compiled with CUDA enabled')",
        r"cannot be built.*expected no \.cuda\(\)",
    ),
    "WantsLabels": (
        "def forward(self, x, y):\n    return super().forward(x)",
        r"expected forward\(x\), which",
    ),
    "MadeForNone": (
        INIT + "    self.late = None\n"
        "def forward(self, x):\n    x = self.features(x)\n    if self.late is None:\n"
        "        self.late = nn.Linear(4, 4)\n    return self.head(self.late(x))",
        "late.weight, late.bias.*lazy",
    ),
    "NoParameters": (
        "def __init__(self, classes):\n    nn.Module.__init__(self)\n    self.classes = classes\n"
        "def forward(self, x):\n    return x.flatten(1)[:, : self.classes]",
        "no parameters",
    ),
    "AllFrozen": (INIT + "    self.requires_grad_(False)", "no parameter is trained"),
    "Sparse": (
        INIT + "    self.table = nn.Embedding(5, 4, sparse=True)\n"
        "def forward(self, x):\n"
        "    return self.head(self.features(x) + self.table(torch.zeros(len(x), dtype=torch.long)))",
        "sparse gradients; got 'table.weight'; expected dense ones: sparse=False",
    ),
    "LazyUnreached": (INIT + "    self.left = nn.LazyLinear(3)", "does not reach; got 'left.weight"),
    "Detached": ("def forward(self, x):\n    return super().forward(x).detach()", "has no gradient"),
    "NoGrad": ("@torch.no_grad()\ndef forward(self, x):\n    return super().forward(x)", "has no gradient"),
    "Integers": ("def forward(self, x):\n    return super().forward(x).long()", "got 'int64'"),
    "Complex": ("def forward(self, x):\n    return torch.fft.fft(super().forward(x))", "got 'complex64'"),
    "ComplexWeight": (
        INIT + "    self.w = nn.Parameter(torch.randn(4, dtype=torch.cfloat))",
        "parameter w that is complex",
    ),
    "Meta": (INIT + '    self.to("meta")', "conv.weight that is on the device meta"),
    "NaN": ("def forward(self, x):\n    return super().forward(x) * float('nan')", "NaN at the initial"),
    "FourAxes": ("def forward(self, x):\n    return super().forward(x)[:, :, None, None]", r"\.flatten\(1\)"),
    "OneAxis": ("def forward(self, x):\n    return super().forward(x)[:, 0]", r"got '\(8,\)'"),
    "Squeezed": ("def forward(self, x):\n    return super().forward(x).squeeze()", "one image.*squeeze"),
    "Tuple": ("def forward(self, x):\n    return super().forward(x), x", "tuple of 2.*class scores alone"),
    "Dict": ("def forward(self, x):\n    return {'logits': super().forward(x)}", "dict of logits"),
    "Auxiliary": (
        "def forward(self, x):\n    y = super().forward(x)\n    return (y, y) if self.training else y",
        "in training; got 'tuple of 2'.*aux_logits",
    ),
    "FixedBatch": (
        "def forward(self, x):\n    return super().forward(x).view(8, -1)",
        "any number of images",
    ),
    "HalfPass": ("def forward(self, x):\n    return super().forward(x.half())", r"float32.*no .double\(\)"),
    "GradientsOff": (
        "def forward(self, x):\n    y = super().forward(x)\n    torch.set_grad_enabled(False)\n    return y",
        "changes settings.*gradient mode",
    ),
    "Exits": ("def forward(self, x):\n    raise SystemExit(0)", r"ends the program \(sys.exit\(0\)\)"),
    "ExitsInTraining": (
        "def forward(self, x):\n    import sys\n    return sys.exit() if self.training else super().forward(x)",
        "fails in training, in step 1: it ends the program",
    ),
    "ExitsAtOnce": ("def __init__(self):\n    raise SystemExit(0)", "cannot be built: it ends the program"),
    "OtherNames": (
        "def __init__(self, channels, n):\n    super().__init__(channels, n)",
        "cannot be built: TypeError.*called in_channels, classes",
    ),
    "MadeInThePass": (
        "def forward(self, x):\n    if not hasattr(self, 'late'):\n        self.late = nn.Linear(4, 4)\n"
        "    return self.head(self.late(self.features(x)))",
        "late.weight, late.bias.*lazy",
    ),
    "KeepsTheGraph": (
        INIT + "    self.h = torch.zeros(1)\n"
        "def forward(self, x):\n    y = super().forward(x) + self.h\n    self.h = y.mean()\n    return y",
        r"backward pass fails, in step 2.*\.detach\(\)",
    ),
    "Unseeded": (
        INIT + "    import numpy\n    with torch.no_grad():\n"
        "        self.head.weight.copy_(torch.from_numpy(numpy.random.default_rng().normal(size=(classes, 4))))",
        "built twice for seed 0 has other initial weights.*no generator without a seed",
    ),
    "UnseededBuffer": (
        INIT + "    import os\n    self.register_buffer('k', torch.tensor(list(os.urandom(8))))",
        "not the same network; got 'k'",
    ),
    "UnseededGenerator": (
        INIT + "    import numpy\n    self.rng = numpy.random.default_rng()",
        r"not the same network; got 'rng \(a generator\)'",
    ),
    "Counts": (
        "n = 0\n" + INIT + "    Counts.n += 1\n    self.scale = Counts.n\n"
        "def forward(self, x):\n    return super().forward(x) * self.scale",
        "gives other outputs",
    ),
    "Clock": (
        "def forward(self, x):\n    import time\n    y = super().forward(x)\n"
        "    return y * (time.perf_counter_ns() % 1000) if self.training else y",
        "two passes in training differ",
    ),
    "Iterates": (
        INIT + "    import itertools\n    self.scales = itertools.cycle([1.0, 2.0, 3.0])\n"
        "def forward(self, x):\n    return super().forward(x) * next(self.scales)",
        "two passes in training and in inference differ.*no iterator",
    ),
    "CountsForAll": (
        "step = 0\ndef forward(self, x):\n    CountsForAll.step += 1\n"
        "    return super().forward(x) * (1 if CountsForAll.step < 500 else 2)",
        "change what all networks share; got 'CountsForAll.step'",
    ),
    "CannotSay": (
        "def forward(self, x):\n    class Odd(Exception):\n        def __str__(self):\n            raise self\n"
        "    raise Odd",
        "cannot take these images: Odd",
    ),
    "Colours": (
        "def forward(self, x):\n    raise ValueError('\\x1b[31mred' + 'long ' * 999)",
        r"ValueError: \\x1b\[31mred.{,600} …",
    ),
    "NamedTuple": (
        "def forward(self, x):\n    import collections\n    y = super().forward(x)\n"
        "    return collections.namedtuple('Out', 'logits aux')(y, y) if self.training else y",
        "in training; got 'Out of 2'",
    ),
    "KeepsNothing": (
        INIT + "    self.drop = nn.Dropout(1.0)",
        "layer drop: a dropout layer that keeps nothing",
    ),
    "OneForAll": (
        "body = nn.Linear(4, 4)\n"
        "def forward(self, x):\n    return self.head(self.body(self.features(x)))\n"
        + INIT
        + "    self.body = OneForAll.body",
        "share tensors; got 'body.weight, body.bias'",
    ),
    "ClosesStdout": (
        "def forward(self, x):\n    import sys\n    sys.stdout.close()\n    return super().forward(x)",
        "changes settings of the process; got 'sys.stdout",
    ),
    "TooLarge": (INIT + "    self.conv = nn.Conv2d(in_channels, 4, 11)", "cannot take these images.*1×8×8"),
    "ThawsInThePass": (
        "def forward(self, x):\n    self.conv.requires_grad_(False)\n    return super().forward(x)",
        "freezes or thaws parameters.*conv.weight",
    ),
}
MORE = """
INSTANCE = Base(1, 10)


def cached():
    return INSTANCE


def scripted(in_channels, classes):
    return torch.jit.script(Base(in_channels, classes))
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("refused"), **{name: body for name, (body, _) in REFUSED.items()})
    path.write_text(path.read_text() + MORE)
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, message) for name, (_, message) in REFUSED.items()),
        ("INSTANCE", "is one network, and every run needs its own"),
        ("cached", "share tensors"),
        ("scripted", "cannot be looked into; got 'RecursiveScriptModule'"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*jit.script.*:DeprecationWarning")  # torch, of what `scripted` does
def test_what_cannot_train_is_refused_before_training_with_the_cure(refused, name, message):
    with pytest.raises(UserError, match=message) as caught:
        prepared(study_of(f"{refused}:{name}"))
    assert name in str(caught.value), "the message names the network"


TRAINS = {
    "Tied": INIT
    + "    self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)\n    self.b.weight = self.a.weight\n"
    "def forward(self, x):\n    return self.head(self.b(torch.relu(self.a(self.features(x)))))",
    "Lazy": "def __init__(self, classes):\n    nn.Module.__init__(self)\n"
    "    self.net = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(classes))\n"
    "def forward(self, x):\n    return self.net(x)",
    "Views": INIT + "    self.head = nn.Linear(256, classes)\n"
    "def forward(self, x):\n    return self.head(self.conv(x).view(x.size(0), -1))",
    "Unused": INIT + "    self.left = nn.Linear(3, 3)",
    "Counting": INIT + "    self.calls, self.scale, self.log = 0, torch.ones(1), []\n"
    "def forward(self, x):\n"
    "    if self.training:\n        self.calls += 1\n        self.scale = self.scale * 0.9\n"
    "    self.log.append(self.calls)\n"
    "    return super().forward(x) * self.scale * (1 + self.calls % 3)",
    "OwnGenerators": INIT + "    import numpy, random\n"
    "    self.rng, self.python = numpy.random.default_rng(0), random.Random(0)\n"
    "    self.torch = torch.Generator().manual_seed(0)\n"
    "def forward(self, x):\n    if not self.training:\n        return super().forward(x)\n"
    "    noise = self.rng.normal() + self.python.random() + torch.rand(1, generator=self.torch)\n"
    "    return super().forward(x) * (1 + 0.1 * noise)",
    "Noisy": "def forward(self, x):\n    import numpy, random\n"
    "    noise = random.random() + numpy.random.rand() + torch.rand(1)\n"
    "    return super().forward(x) * (1 + 0.1 * noise)",
    "Draws": INIT + "    import numpy, random\n    with torch.no_grad():\n"
    "        self.head.weight.copy_(torch.from_numpy(numpy.random.randn(classes, 4)))\n"
    "        self.conv.bias.fill_(random.random())",
    "LeavesOut": INIT + "    self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))\n"
    "def forward(self, x):\n    x = self.features(x)\n    for block in self.blocks:\n"
    "        if not self.training or torch.rand(()) < 0.5:\n            x = x + block(x)\n    return self.head(x)",
    "Normed": INIT + "    self.head = torch.nn.utils.parametrizations.spectral_norm(self.head)",
    "OldNormed": INIT + "    self.head = torch.nn.utils.weight_norm(self.head)",
    "Double": INIT + "    self.double()",
}
TRAINED_MORE = """

def parallel(in_channels, classes):
    return nn.DataParallel(Base(in_channels, classes))
"""


@pytest.fixture(scope="module")
def trains(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("trains"), **TRAINS)
    path.write_text(path.read_text() + TRAINED_MORE)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "Counting",
        *(pytest.param(name, marks=pytest.mark.slow) for name in (*TRAINS, "parallel") if name != "Counting"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_it_trains_and_gives_the_same_bytes_when_interrupted(trains, tmp_path, name):
    study = study_of(f"{trains}:{name}")
    whole = trained(study, tmp_path / "whole")
    assert trained_in_pieces(study, tmp_path / "pieces") == whole
    assert len(whole) == 5, "weights and predictions of two runs, and their rows"


def test_what_layers_share_is_one_weight_under_two_names(trains, tmp_path):
    study = study_of(f"{trains}:Tied", arms={"none": {}})
    trained(study, tmp_path / "run")
    weights = load_file(tmp_path / "run" / "weights" / "none" / "seed-0.safetensors")
    assert np.array_equal(weights["a.weight"], weights["b.weight"])
    assert not np.array_equal(weights["a.bias"], weights["b.bias"])
    setup = prepared(study)
    module = setup.module(Run("none", 0, ()))
    module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    assert trained_weight_names(module, setup.idle(Run("none", 0, ()))) == {
        "conv.weight",
        "head.weight",
        "a.weight",
    }
    rows = (tmp_path / "run" / "results.csv").read_text().splitlines()
    row = dict(zip(rows[0].split(","), rows[1].split(","), strict=True))
    counted = [weights[name] for name in ("conv.weight", "head.weight", "a.weight")]
    assert float(row["weight_norm_l1"]) == pytest.approx(
        sum(float(np.abs(w).sum()) for w in counted), rel=1e-6
    )


def test_norms_and_zeros_are_of_trained_weights_only(trains, tmp_path):
    study = study_of(f"{trains}:Unused", arms={"l1": {"l1": 0.3}})
    trained(study, tmp_path / "run")
    weights = load_file(tmp_path / "run" / "weights" / "l1" / "seed-0.safetensors")
    setup = prepared(study)
    start: Any = setup.module(Run("l1", 0, ()))
    assert np.array_equal(weights["left.weight"], start.left.weight.detach().numpy()), "no penalty shrinks it"
    rows = (tmp_path / "run" / "results.csv").read_text().splitlines()
    row = dict(zip(rows[0].split(","), rows[1].split(","), strict=True))
    counted = np.concatenate([weights[name].ravel() for name in ("conv.weight", "head.weight")])
    assert float(row["zero_fraction"]) == pytest.approx((counted == 0).mean())
    assert float(row["weight_norm_l2"]) == pytest.approx(np.linalg.norm(counted.astype(np.float64)), rel=1e-6)


def test_what_takes_no_part_is_named_and_not_refused(trains):
    said = "neither trained nor penalized nor counted: left.bias, left.weight"
    assert said in notes_of(study_of(f"{trains}:Unused"))


def test_layers_that_chance_leaves_out_take_part(trains):
    assert "no part" not in notes_of(study_of(f"{trains}:LeavesOut"))


def test_constructors_that_draw_from_three_generators_start_a_seeds_arms_alike(trains):
    setup = prepared(study_of(f"{trains}:Draws", seeds=2))
    np.random.seed(7)  # noqa: NPY002
    one: Any
    other: Any
    one, same, other = (setup.module(Run("none", seed, ())) for seed in (0, 0, 1))
    assert np.random.get_state()[1][0] == 7, "what the constructor draws is nobody else's draw"  # noqa: NPY002
    for name, p in one.named_parameters():
        assert torch.equal(p, same.get_parameter(name))
    assert not torch.equal(one.head.weight, other.head.weight)
    assert not torch.equal(one.conv.bias, other.conv.bias)


def test_attributes_are_those_of_training_when_it_is_tested(trains):
    """The scale has shrunk over two epochs of three steps: a network that is tested with 1 again is another one."""
    study = study_of(f"{trains}:Counting", arms={"none": {}})
    setup = prepared(study)
    run = PlainTrainer(setup, [Run("none", 0, ())])
    for epoch in (1, 2):
        run.train_epoch(epoch)
    fresh = PlainTrainer(setup, [Run("none", 0, ())])
    fresh.load_weights({name: tensor.clone() for name, tensor in run.weights().items()})
    x = setup.first_images(5)
    assert fresh._module.calls == run._module.calls == 6
    assert torch.equal(fresh.logits(x), run.logits(x))
    torch.testing.assert_close(run._module.scale, torch.tensor([0.9**6]))


NOTED = {
    "Sigmoid": ("def forward(self, x):\n    return super().forward(x).sigmoid()",
                "between 0 and 1 as after a sigmoid.*stays above 1.46,"),
    "Rectified": ("def forward(self, x):\n    return super().forward(x).relu()", "never negative, as after a ReLU"),
    "BareTensor": (INIT + "    self.w = torch.full((4,), 0.5, requires_grad=True)\n"
                   "def forward(self, x):\n    return self.head(self.features(x) * self.w)",
                   "no nn.Parameter are not trained, though they require gradients: w"),
    "BareTensors": (INIT + "    self.ws = [torch.full((4,), 0.5, requires_grad=True)]\n"
                    "def forward(self, x):\n    return self.head(self.features(x) * self.ws[0])",
                    "though they require gradients: ws"),
    "MadeAnew": ("def forward(self, x):\n    return self.head(nn.BatchNorm2d(4)(self.conv(x)).mean((2, 3)))",
                 "new in each pass, so never trained.*: BatchNorm2d"),
    "NoStatistics": (INIT + "    self.bn = nn.BatchNorm2d(4, track_running_stats=False)\n"
                     "def features(self, x):\n    return self.bn(self.conv(x)).square().sum((2, 3)) / 9",
                     r"its batch: bn \(BatchNorm2d\) has no running statistics"),
    "AlwaysTraining": (INIT + "    self.bn = nn.BatchNorm2d(4)\n"
                       "def forward(self, x):\n    self.train()\n"
                       "    return self.head(self.bn(self.conv(x)).square().mean((2, 3)))",
                       r"bn \(BatchNorm2d\) is in training mode in inference"),
    "BatchSecond": (INIT + "    self.mix = nn.MultiheadAttention(4, 2)\n"
                    "def features(self, x):\n    x = self.conv(x).flatten(2).transpose(1, 2)\n"
                    "    return self.mix(x, x, x)[0].mean(1)",
                    r"perhaps mix \(MultiheadAttention\).*batch_first=True"),
    "OverImages": ("def forward(self, x):\n    return super().forward(x).log_softmax(0)",
                   r"axis 0, which is the batch, as softmax\(dim=0\)"),
    "Flat": (INIT + "    self.theta = nn.Parameter(torch.ones(400))\n"
             "def features(self, x):\n    return super().features(x) * self.theta.mean()",
             "l1: only 76 of 490 trained .* left out are theta, head.bias, conv.bias .include: all"),
    "Tokens": (INIT + "    self.pos = nn.Parameter(torch.ones(1, 4))\n"
               "def features(self, x):\n    return super().features(x) + self.pos",
               "l1: penalized as weights, since they have two dimensions or more: pos"),
    "OldWeightNorm": (INIT + "    torch.nn.utils.weight_norm(self.conv)",
                      "l1: shrinking conv.weight_v does not by itself"),
    "NewWeightNorm": (INIT + "    torch.nn.utils.parametrizations.weight_norm(self.conv)",
                      "l1: shrinking conv.parametrizations.weight.original1 does"),
    "OldSpectralNorm": (INIT + "    torch.nn.utils.spectral_norm(self.conv)", "l1: shrinking conv.weight_orig does"),
    "NewSpectralNorm": (INIT + "    torch.nn.utils.parametrizations.spectral_norm(self.conv)",
                        "l1: shrinking conv.parametrizations.weight.original does"),
    "Softmax": ("def forward(self, x):\n    return super().forward(x).softmax(1)", "sum to 1"),
    "SeedsItself": ("def __init__(self, in_channels, classes):\n    torch.manual_seed(0)\n"
                    "    super().__init__(in_channels, classes)", "every seed starts from the same weights"),
    "InAList": (INIT + "    self.layers = [nn.Linear(4, 4)]\n"
                "def forward(self, x):\n    return self.head(self.layers[0](self.features(x)))",
                "not trained.*layers"),
    "PartWithout": ("def forward(self, x):\n    with torch.no_grad():\n        x = self.features(x)\n"
                    "    return self.head(x)", "no gradient in training.*conv.bias, conv.weight"),
    "Half": (INIT + "    self.half()", "float16 are trained in float32"),
    "DrawsInInference": ("def forward(self, x):\n    return super().forward(x) + torch.rand(1)",
                         r"draws random numbers in inference \(torch\)"),
    "Mixes": ("def forward(self, x):\n    y = super().forward(x)\n    return y - y.mean(0)",
              "depend on the other images of its batch"),
}  # fmt: skip


@OLD_STYLE
@pytest.mark.parametrize("name", NOTED)
def test_what_a_person_should_know_is_said(tmp_path, name):
    path = write(tmp_path, **{name: NOTED[name][0]})
    assert re.search(NOTED[name][1], notes_of(study_of(f"{path}:{name}")))


def test_a_usual_network_gets_no_such_note(tmp_path):
    path = write(tmp_path, Usual=INIT + "    self.bn = nn.BatchNorm2d(4)\n"
                 "def features(self, x):\n    return self.bn(self.conv(x)).square().mean((2, 3))")  # fmt: skip
    said = notes_of(study_of(f"{path}:Usual"))
    assert not any(words in said for words in ("l1", "outputs", "new in each pass", "require"))


NO_WEIGHTS = (
    "def __init__(self, classes):\n    nn.Module.__init__(self)\n"
    "    self.theta = nn.Parameter(torch.ones(64 * classes) * torch.randn(1))\n"
    "def forward(self, x):\n    return x.flatten(1) @ self.theta.view(64, -1)"
)


def test_a_penalty_on_nothing_is_refused_and_one_on_all_trains(tmp_path):
    path = write(tmp_path, NoWeights=NO_WEIGHTS)
    with pytest.raises(UserError, match=r"arms\.l1\.l1: l1 falls on no parameter.*expected include: all"):
        notes_of(study_of(f"{path}:NoWeights"))
    everything = {"none": {}, "l1": {"l1": {"strength": 1e-3, "include": "all"}}, "off": {"l2": 0.0}}
    assert "l1:" not in notes_of(study_of(f"{path}:NoWeights", arms=everything))


PLAIN = {
    "OldWeightNorm": (NOTED["OldWeightNorm"][0], "parametrizations.weight_norm in the place of"),
    "OldSpectralNorm": (NOTED["OldSpectralNorm"][0], "parametrizations.spectral_norm in the place of"),
    "Pruned": (INIT + "    import torch.nn.utils.prune as prune\n"
               "    prune.l1_unstructured(self.conv, 'weight', amount=0.5)", "multiply with a mask in a buffer"),
    "Averages": (INIT + "    self.bn = nn.BatchNorm2d(4, momentum=None)\n"
                 "def features(self, x):\n    return self.bn(self.conv(x)).square().mean((2, 3))",
                 r"^bn \(BatchNorm2d\) has momentum=None, .*; give it one, as 0.1$"),
    "NoStatistics": (NOTED["NoStatistics"][0], "images of a batch mix: bn .* has no running statistics"),
}  # fmt: skip


@OLD_STYLE
@pytest.mark.parametrize("name", PLAIN)
def test_why_the_plain_loop_trains_is_told_once_with_the_cure(tmp_path, name):
    path = write(tmp_path, **{name: PLAIN[name][0]})
    (fleet, *_) = plan_fleets(prepared(study_of(f"{path}:{name}")), [0])
    assert fleet.engine == "plain", fleet
    assert len(re.findall(PLAIN[name][1], fleet.reason)) == 1, fleet.reason


def test_what_a_file_does_to_the_process_is_undone(tmp_path, capsys):
    path = write(tmp_path)
    spoiling = """
import os, signal, sys
print("hello from the file")
sys.stdout.close()
sys.stdout = None
sys.excepthook = print
os.chdir("/")
signal.signal(signal.SIGINT, signal.SIG_IGN)
torch.set_default_dtype(torch.float64)
torch.set_num_threads(7)
torch.set_grad_enabled(False)
torch.use_deterministic_algorithms(True)
sys.path.append("/nowhere")
"""
    before = (sys.stdout, sys.excepthook, os.getcwd(), signal.getsignal(signal.SIGINT), list(sys.path))
    threads = torch.get_num_threads()
    path.write_text(spoiling.replace("import os", "import torch, os", 1) + path.read_text())
    setup = prepared(study_of(f"{path}:Base"))
    after = (sys.stdout, sys.excepthook, os.getcwd(), signal.getsignal(signal.SIGINT), list(sys.path))
    assert after == before
    assert (torch.get_default_dtype(), torch.get_num_threads()) == (torch.float32, threads)
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert next(setup.module(Run("none", 0, ())).parameters()).dtype == torch.float32
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("hello from the file")) == ("", 1), "stdout is for results"


@pytest.mark.parametrize(
    "body",
    [
        "    for name in {'left', 'right', 'up', 'down', 'in', 'out'}:\n        self.add_module(name, nn.Linear(4, 4))",
        "    self.scale = nn.Parameter(torch.tensor(float(hash('a word') % 1000)))",
        "    import time\n    self.scale = nn.Parameter(torch.tensor(float(int(time.time()) % 1000)))",
    ],
    ids=["set", "hash", "time"],
)
@pytest.mark.slow
def test_what_another_process_would_build_otherwise_is_refused(tmp_path, body):
    """In one process it is the same network each time: only another one shows it."""
    path = write(tmp_path, Odd=INIT + body)
    with pytest.raises(UserError, match=r"other weights in another process|other initial weights"):
        prepared(study_of(f"{path}:Odd"))


@pytest.mark.slow
def test_a_set_that_decides_nothing_is_nothing(tmp_path):
    path = write(tmp_path, Fine=INIT + "    self.names = {'left', 'right'}")
    prepared(study_of(f"{path}:Fine"))


def test_ctrl_c_in_a_constructor_is_ctrl_c(tmp_path):
    path = write(tmp_path, Stopped="def __init__(self):\n    raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        prepared(study_of(f"{path}:Stopped"))
