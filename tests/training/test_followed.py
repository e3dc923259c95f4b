"""Functions of torch on tensors of R runs that have one run's shape: each run gets what it would get alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.layers.dropout import adopt
from regulab.models.stacking import Unstackable, stack_modules
from regulab.models.stacking.run_tensor import ForwardPass, RunTensor
from regulab.techniques.dropout import Dropout
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.planning import CHECKED_SEEDS, choose_engine
from tests.cases.made import made
from tests.training.setups import FLOAT64, ON_DEVICE, runs_of, study_of

R = 3
SHAPES = {
    "x": (4, 6, 5, 5),
    "y": (4, 6, 5, 5),
    "v": (6,),
    "s": (),
    "m": (4, 6),
    "w": (7, 6),
    "k": (8, 3, 3, 3),
}
Values = dict[str, Tensor]


def values(run: int) -> Values:
    generator = torch.Generator().manual_seed(run)
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()
    }


SHARED = torch.linspace(0.5, 2, 5, dtype=torch.float64)
ROWS = torch.tensor([2, 0, 1])


def written(x: Tensor, y: Tensor) -> Tensor:
    x = x.clone()
    x[:, 1:3] = y[:, :2]
    x[0, :, 2] += 1.5
    x[..., -1] = 0
    return x


def filled(x: Tensor, m: Tensor) -> Tensor:
    z = x.new_zeros(4, 2, 6)
    z[:, 0] = m
    z[:, 1].copy_(2 * m)
    return z


def accumulated(x: Tensor, y: Tensor) -> Tensor:
    x = x * 1
    x += y
    x.mul_(2).clamp_(-1, 1)
    return F.relu(x, inplace=True)


def by_hand(q: Tensor) -> Tensor:
    b, c, h, w = q.size()
    q = q.view(b, 2, c // 2, h * w).permute(0, 1, 3, 2)
    weights = (q @ q.transpose(-2, -1) / 2).softmax(dim=-1)
    return (weights @ q).transpose(1, 2).reshape(b, h * w, c)


CASES: dict[str, Callable[[Values], Any]] = {
    "view(-1, n)": lambda t: t["x"].view(-1, 150),
    "view(b, -1)": lambda t: t["x"].view(t["x"].size(0), -1),
    "view over images": lambda t: t["x"].view(-1, 5, 5),
    "view(-1)": lambda t: t["x"].view(-1),
    "reshape of a tuple": lambda t: t["x"].permute(0, 2, 3, 1).reshape((4, 25, 6)),
    "view_as": lambda t: t["x"].flatten(1).view_as(t["y"]),
    "flatten": lambda t: torch.flatten(t["x"], 2).flatten(0, 1),
    "unflatten": lambda t: t["x"].unflatten(1, (2, -1)),
    "permute, transpose": lambda t: t["x"].permute(1, 0, 3, 2).transpose(0, -1),
    "t, T, mT": lambda t: (t["m"].t(), t["w"].T, t["x"].mT),
    "squeeze, unsqueeze": lambda t: t["x"].unsqueeze(0).unsqueeze(-1).squeeze(0).squeeze(),
    "unsqueeze before the last": lambda t: t["v"].unsqueeze(0).unsqueeze(-1),
    "expand": lambda t: t["v"].view(1, 6, 1, 1).expand(4, -1, 5, 5) + t["s"].expand(4, 1, 1, 1),
    "expand_as": lambda t: t["m"][:, :, None, None].expand_as(t["x"]),
    "cat of channels": lambda t: torch.cat([t["x"], t["y"][:, :2], t["x"]], 1),
    "cat of images": lambda t: torch.cat((t["x"], t["y"]), dim=0),
    "cat with what is shared": lambda t: torch.cat([t["x"], SHARED.expand(4, 1, 5, 5)], 1),
    "stack": lambda t: torch.stack([t["x"], t["y"]], 1).sum(1) + torch.stack((t["x"], t["y"])).mean(0),
    "chunk, split, unbind": lambda t: (
        *t["x"].chunk(2, 1),
        *torch.split(t["x"], [1, 5], dim=1),
        *t["m"].unbind(1),
    ),
    "iterated": lambda t: sum(row * k for k, row in enumerate(t["x"])),
    "indices": lambda t: (
        t["x"][:, 1],
        t["x"][1],
        t["x"][..., 0],
        t["x"][:, None, 2:4, ::2],
        t["x"][-1, -1, -1, -1],
    ),
    "an index of a tensor": lambda t: t["x"][:, ROWS] + t["y"][:, ROWS.flip(0)],
    "select, narrow": lambda t: t["x"].select(1, 2).narrow(0, 1, 2),
    "written by slices": lambda t: written(t["x"], t["y"]),
    "written into new zeros": lambda t: filled(t["x"], t["m"]),
    "in place": lambda t: accumulated(t["x"], t["y"]),
    "softmax of channels": lambda t: (
        F.softmax(t["x"], 1) + t["x"].log_softmax(-1) + torch.softmax(t["x"], dim=0)
    ),
    "mean of all": lambda t: t["x"].mean() + t["x"].sum() * t["s"],
    "mean of axes": lambda t: t["x"].mean((2, 3)) + t["x"].amax(dim=(-2, -1)) + torch.sum(t["x"], [2, 3]),
    "mean of images": lambda t: t["x"].mean(0, keepdim=True) + t["x"].std(1, keepdim=True),
    "variance": lambda t: torch.var(t["x"], dim=1, unbiased=False) + t["x"].var((1, 2), keepdim=True).mean(1),
    "max with places": lambda t: (*t["x"].max(1), torch.max(t["x"], dim=-1, keepdim=True)[0]),
    "the larger of two": lambda t: torch.max(t["x"], t["y"]) + torch.maximum(t["x"], t["s"]),
    "largest of all": lambda t: t["x"].max() + t["x"].norm(),
    "norm of an axis": lambda t: t["x"].norm(2, dim=1) + F.normalize(t["x"])[:, 0],
    "cumsum, flip": lambda t: t["x"].cumsum(1).flip(1),
    "broadcast parameters": lambda t: (
        t["x"] * t["v"].view(-1, 1, 1) + t["m"][:, :, None, None] * t["s"] - SHARED
    ),
    "broadcast from both sides": lambda t: (
        2 - t["s"] * SHARED + t["v"][:, None] / (1 + t["m"].abs().t()[..., :1])
    ),
    "where": lambda t: torch.where(t["x"] > 0, t["x"], t["v"].view(6, 1, 1) * t["y"]).clamp(min=t["s"]),
    "masked_fill": lambda t: t["x"].masked_fill(t["m"][..., None, None] > 0, 1.0),
    "linear": lambda t: F.linear(t["m"], t["w"]) + F.linear(t["x"].permute(0, 2, 3, 1), t["w"]).mean((1, 2)),
    "matmul": lambda t: (
        t["m"] @ t["w"].t() + torch.mm(t["m"], t["w"].T) + (t["m"] @ torch.ones(6, 1).double())
    ),
    "bmm": lambda t: torch.bmm(t["x"].flatten(2), t["y"].flatten(2).transpose(1, 2)),
    "batched matmul": lambda t: t["x"] @ t["y"].mT + SHARED.diag() @ t["x"],
    "einsum": lambda t: torch.einsum("bchw,oc->bohw", t["x"], t["w"]),
    "attention by hand": lambda t: by_hand(t["x"]),
    "attention": lambda t: F.scaled_dot_product_attention(t["x"], t["y"], t["x"], is_causal=True),
    "conv2d of groups": lambda t: F.conv2d(t["x"], t["k"], padding=1, stride=2, groups=2),
    "conv_transpose2d": lambda t: F.conv_transpose2d(t["x"], t["k"][:6], stride=2),
    "convolution of one weight for all": lambda t: F.conv2d(t["x"], torch.ones(2, 6, 1, 1).double()),
    "pools": lambda t: F.max_pool2d(t["x"], 2) + F.avg_pool2d(t["x"], 2) + F.adaptive_avg_pool2d(t["x"], 2),
    "pool with places": lambda t: F.max_pool2d(t["x"], 2, return_indices=True),
    "interpolate": lambda t: F.interpolate(t["x"], scale_factor=2, mode="bilinear"),
    "pads": lambda t: (
        F.pad(t["x"], (1, 2, 0, 0), mode="reflect").mean(-1) + F.pad(t["x"], (0, 0, 0, 0, 1, 1))[:, 1:-1, 0]
    ),
    "layer norm": lambda t: F.layer_norm(t["x"].permute(0, 2, 3, 1), (6,), t["v"], t["v"]),
    "layer norm of maps": lambda t: F.layer_norm(t["x"], t["x"].shape[1:]),
    "group norm": lambda t: F.group_norm(t["x"], 3, t["v"]),
    "batch norm": lambda t: F.batch_norm(t["x"], None, None, t["v"], None, True),
    "pixel shuffle": lambda t: F.pixel_shuffle(t["x"][:, :4], 2),
    "unfold": lambda t: F.unfold(t["x"], 3),
    "glu": lambda t: F.glu(t["x"], 1),
    "one_hot of the largest": lambda t: F.one_hot(t["m"].argmax(1), 6) * t["m"],
    "topk, sort": lambda t: (*t["m"].topk(2), *t["m"].sort(1)),
    "gather": lambda t: t["m"].gather(1, t["m"].argsort(1)),
    "roll, repeat": lambda t: t["x"].roll(1, 2).repeat(1, 2, 1, 1).repeat_interleave(2, 0),
    "fft": lambda t: torch.fft.fft2(t["x"]).abs(),
    "types": lambda t: t["x"].float().to(t["y"].dtype).type_as(t["y"]) + t["x"].long().double(),
    "detached": lambda t: t["x"] / t["x"].detach().abs().amax().clamp(min=1),
    "sizes": lambda t: (
        t["x"] * (t["x"].size(1) + t["x"].shape[-1] + t["x"].dim() + t["m"].numel() + len(t["x"]))
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_run_gets_what_it_would_get_alone(name: str) -> None:
    each = [values(run) for run in range(R)]
    want = [CASES[name](one) for one in each]
    # Wherever the axis of the runs stands: first as for parameters, or behind the images.
    for place in (0, 1):
        of = ForwardPass(runs=R, active=True)
        together: dict[str, Tensor] = {
            key: RunTensor(
                torch.stack([one[key] for one in each], min(place, len(shape))), min(place, len(shape)), of
            )
            for key, shape in SHAPES.items()
        }
        found = CASES[name](together)
        many = isinstance(want[0], tuple)
        for k, part in enumerate(found if many else (found,)):
            assert isinstance(part, RunTensor)
            alone = [one[k] for one in want] if many else want
            assert part.shape == alone[0].shape
            assert part.dtype == alone[0].dtype
            torch.testing.assert_close(
                part.runs.movedim(part.place, 0), torch.stack(alone), rtol=1e-10, atol=1e-10
            )


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda x: x if x.sum() > 0 else -x, "value decides"),
        (lambda x: x * x.max().item(), "read out"),
        (lambda x: x * float(x.mean()), "made a number"),
        (lambda x: x.squeeze_(0), "in place"),
        (lambda x: x[x > 0], "run"),
        (lambda x: torch.zeros(4, 6, 5, 5).double().add_(x), "x.new_zeros"),
    ],
)
def test_what_cannot_be_is_refused_with_the_line_and_a_cure(use: Callable[[Tensor], Any], words: str) -> None:
    x = RunTensor(torch.stack([values(run)["x"] for run in range(R)]), 0, ForwardPass(runs=R, active=True))
    with pytest.raises(Unstackable, match=rf"(?s)test_followed.py, line \d+ \(`.*{words}") as caught:
        use(x)
    assert "lambda" in str(caught.value)


class Dropping(nn.Module):
    """Every sort of dropout: layers and functions, of elements, channels, tokens and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.channels, self.alpha = nn.Conv2d(1, 6, 3), nn.Dropout2d(0.2), nn.AlphaDropout(0.1)
        self.tokens, self.attention = (
            nn.Dropout(0.2),
            nn.MultiheadAttention(6, 2, dropout=0.3, batch_first=True),
        )
        self.scale, self.fc = nn.Parameter(torch.ones(6)), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout2d(self.channels(self.conv(x)), 0.1, self.training).flatten(2).transpose(1, 2)
        x = self.tokens(x) * self.scale
        x = x + self.attention(x, x, x, need_weights=False)[0]
        q = x.unsqueeze(1)
        x = x + F.scaled_dot_product_attention(q, q, q, dropout_p=0.2 if self.training else 0.0)[:, 0]
        x = F.alpha_dropout(self.alpha(x.mean(1)), 0.1, self.training)
        return self.fc(F.dropout(x, training=self.training))


def with_rates_of_its_own(arms):
    """As the arms of a person's network are, where none sets a rate."""
    return {arm: tuple(one for one in own if not isinstance(one, Dropout)) for arm, own in arms.items()}


@pytest.mark.parametrize("technique", [{"l2": 0.1}, {"sam": 0.05}])
@pytest.mark.parametrize("machine", [FLOAT64, ON_DEVICE])
def test_dropout_as_layers_and_as_functions_is_the_same_in_fleet_and_plain_loop(technique, machine):
    """Also where a technique evaluates a step twice, with the same draws."""
    arms = {"none": {}, "some": technique} if "l2" in technique else {"some": technique, "more": {"sam": 0.1}}
    train = {"batch_size": 20, "optimizer": {"name": "sgd", "lr": 0.05}, "schedule": {"name": "constant"}}
    study = study_of(arms, seeds=2, train=train, model={"dropout": None})
    setup = made(Dropping, study, machine)
    setup = replace(setup, arms=with_rates_of_its_own(setup.arms))
    runs = setup.runs()
    checked = [setup.module(setup.run(runs[0].arm, seed)) for seed in range(CHECKED_SEEDS)]
    assert choose_engine(setup, checked) == ("followed", "")
    fleet, plains = Fleet(setup, runs, "followed"), [PlainTrainer(setup, [run]) for run in runs]
    for epoch in (1, 2):
        together = fleet.train_epoch(epoch).loss
        alone = torch.cat([plain.train_epoch(epoch).loss for plain in plains])
        torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)
    fleet.select([1, 2])
    assert torch.equal(fleet.train_epoch(3).loss.isfinite(), torch.ones(2, dtype=torch.bool))
    later = torch.cat([plains[k].train_epoch(3).loss for k in (1, 2)])
    x = setup.first_images(4)
    logits = torch.cat([plains[k].logits(x) for k in (1, 2)], 1)
    torch.testing.assert_close(fleet.logits(x), logits, rtol=1e-8, atol=1e-10)
    assert later.isfinite().all()


def test_arms_that_set_the_rate_within_torchs_attention_are_left_to_vmap():
    study = study_of({"none": {}, "more": {"dropout": 0.4}}, model={"dropout": None})
    setup = made(Dropping, study, FLOAT64)
    engine, reason = choose_engine(setup, [setup.module(setup.run("none", s)) for s in range(CHECKED_SEEDS)])
    assert (engine, "MultiheadAttention" in reason) == ("vmap", True)


def test_the_arms_of_a_seed_drop_the_same_and_seeds_differ():
    study = study_of({"none": {}, "other": {"l2": 0.0}}, seeds=2, model={"dropout": None})
    setup = made(Dropping, study, FLOAT64)
    setup = replace(setup, arms=with_rates_of_its_own(setup.arms))
    fleet = Fleet(setup, setup.runs(), "followed")
    loss = fleet.train_epoch(1).loss
    assert torch.equal(loss[[0, 2]], loss[[1, 3]])
    assert loss[0] != loss[2]


class Remembering(nn.Module):
    """A buffer that the forward pass replaces, a list of parameters, and a layer that stands in two places."""

    level: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 6, 3), nn.Linear(6, 10)
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(6, 1, 1)), nn.Parameter(torch.zeros(1))])
        self.register_buffer("level", torch.zeros(6))
        self.again = self.fc

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x)) * self.scales[0] + self.scales[1]
        x = x.mean((2, 3))
        if self.training:
            self.level = 0.9 * self.level + 0.1 * x.detach().mean(0)
        return self.again(x - self.level) + self.fc(x)


def test_buffers_that_are_replaced_and_parameters_in_lists_belong_to_their_runs():
    study = study_of({"none": {}, "l2": {"l2": 0.1}}, seeds=2, model={"dropout": None})
    setup, runs = made(Remembering, study, FLOAT64), runs_of(study)
    fleet, plains = Fleet(setup, runs, "followed"), [PlainTrainer(setup, [run]) for run in runs]
    fleet.train_epoch(1)
    for position, plain in enumerate(plains):
        plain.train_epoch(1)
        for name, value in plain.weights().items():
            torch.testing.assert_close(fleet.weights()[name][position], value[0], rtol=1e-9, atol=1e-11)
    assert fleet.weights()["level"].abs().min() > 0


def test_outside_of_a_forward_pass_parameters_are_those_of_all_runs():
    stack = stack_modules([adopt(Remembering()) for _ in range(R)], followed=True)
    assert stack.get_parameter("scales.0").shape == (R, 6, 1, 1)
    assert stack.level.shape == (R, 6)
    assert type(stack).__name__ == "Remembering"


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.scale).mean((2, 3))


class Registered(Scaled):
    known: list[str] = []  # noqa: RUF012  # as code is written that keeps a list of its networks

    def __init_subclass__(cls, *, key: str, **others: Any) -> None:
        super().__init_subclass__(**others)
        Registered.known.append(key)


class Listed(Registered, key="listed"):
    pass


class Alone(type):
    def __new__(cls, name: str, bases: Any, content: Any, own: bool = False) -> Any:
        if not own:
            raise RuntimeError("no class of it")
        return super().__new__(cls, name, bases, content)

    def __init__(cls, name: str, bases: Any, content: Any, own: bool = False) -> None:
        super().__init__(name, bases, content)


class Final(Scaled, metaclass=Alone, own=True):
    pass


def test_a_class_that_keeps_a_list_of_its_subclasses_does_not_hear_of_ours():
    modules = [Listed().double() for _ in range(R)]
    x = [torch.randn(2, 3, 4, 4, dtype=torch.float64) for _ in range(R)]
    got = stack_modules(modules, followed=True)(torch.cat(x, 1))
    torch.testing.assert_close(got, torch.cat([one(part) for one, part in zip(modules, x, strict=True)], 1))
    assert Registered.known == ["listed"]


def test_a_class_that_allows_no_subclass_is_refused():
    with pytest.raises(Unstackable, match="no class can be made of Final: RuntimeError: no class of it"):
        stack_modules([Final() for _ in range(R)], followed=True)
