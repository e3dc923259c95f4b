"""What every layer promises that says itself how it stacks: its examples stand in its class."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
import torch
from torch import nn

import regulab.models
import regulab.techniques
from regulab.models.hashed_draws import HashedDraws
from regulab.models.layers.draws import RandomLayer, Repeatable, bind_draws
from regulab.models.layers.dropout import DropoutDraws
from regulab.models.stacking import Unstackable, stack_modules
from regulab.streams import Streams
from regulab.training.grouping import replace_buffer
from regulab.training.stack_check import check_stack
from regulab.training.stack_rates import select_rates
from regulab.training.stack_step import bind, randomized


def modules():
    """Every module in which a layer may stand: with the models, or in the file of the technique that uses it."""
    for package in (regulab.models, regulab.techniques):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(info.name)


def layers():
    """Every `nn.Module` in them with a function ``stacked`` of its own."""
    for module in modules():
        for value in vars(module).values():
            ours = (
                isinstance(value, type)
                and issubclass(value, nn.Module)
                and value.__module__ == module.__name__
            )
            if ours and isinstance(
                inspect.getattr_static(value, "stacked", None), staticmethod | classmethod
            ):
                yield value


LAYERS = {kind.__name__: kind for kind in layers()}
SHAPE = (5, 4, 6, 7)
DRAWS = (
    "; if it draws: from `self.draw(shape)`, its stack from `self.drawn(shape)`, never from torch's generator"
)


def sizes(layer):
    """Images whose channels the layer takes: as many as its own parameters have, or any."""
    channels = next((len(p) for p in layer.parameters()), SHAPE[1])
    return (SHAPE[0], channels, *SHAPE[2:])


@pytest.mark.parametrize("name", LAYERS)
def test_it_has_examples(name):
    assert hasattr(LAYERS[name], "examples"), f"{name} has no examples(): give one layer at least"
    assert all(isinstance(layer, LAYERS[name]) for layer in LAYERS[name].examples())
    assert LAYERS[name].examples()


@pytest.mark.parametrize("name", LAYERS)
def test_a_stack_does_what_the_layers_do(name):
    for k in range(len(LAYERS[name].examples())):
        modules = [nn.Sequential(LAYERS[name].examples()[k], nn.Flatten()) for _ in range(3)]
        try:
            check_stack(modules, torch.rand(sizes(modules[0][0]), generator=torch.Generator().manual_seed(k)))
        except Unstackable as problem:
            problem.add_note(f"{LAYERS[name].__module__}.{name}, example {k}{DRAWS}")
            raise


@pytest.mark.parametrize("name", LAYERS)
def test_those_that_stay_in_a_stack_do_not_notice_who_left(name):
    for k, example in enumerate(LAYERS[name].examples()):
        modules = [randomized(nn.Sequential(example), run) for run in range(4)]
        left, made = stack_modules(modules), stack_modules(modules[:2])
        for parameter in left.parameters():
            parameter.data = parameter.data[:2]
        for path, buffer in list(left.named_buffers()):
            replace_buffer(left, path, buffer[:2].clone())
        select_rates(left, [0, 1])
        batch, channels, *size = sizes(example)
        x = torch.rand(batch, 2 * channels, *size, generator=torch.Generator().manual_seed(k))
        for training in (False, True):
            found = []
            for stack in (left, made):
                bind(stack.train(training), modules[:2], 0)
                found.append(stack(x))
            assert torch.equal(*found), f"example {k}{', in training' if training else ''}"


@pytest.mark.parametrize("name", [name for name, kind in LAYERS.items() if issubclass(kind, RandomLayer)])
@pytest.mark.parametrize(
    "source", [DropoutDraws, lambda seed: HashedDraws([seed], torch.device("cpu"))], ids=["host", "device"]
)
def test_what_draws_repeats_itself_by_seed_epoch_and_step(name, source):
    layer = LAYERS[name].examples()[0]
    module, x = nn.Sequential(nn.Identity(), layer), torch.ones(SHAPE)
    found = []
    for seed, epoch in ((0, 1), (0, 1), (1, 1), (0, 2)):
        draws = source(Streams("layers", seed))
        draws.begin(epoch)
        draws.bind(module)
        again = Repeatable(module)
        first, second = module(x), module(x)
        assert not torch.equal(first, second), "each step has draws of its own"
        again.repeat()
        assert torch.equal(module(x), first)
        assert torch.equal(module(x), second)
        found.append(first)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[3])
    assert torch.equal(module.eval()(x), x)


@pytest.mark.parametrize("name", [name for name, kind in LAYERS.items() if issubclass(kind, RandomLayer)])
def test_runs_of_a_seed_share_its_draws(name):
    stack = nn.Sequential(stack_modules([LAYERS[name].examples()[0] for _ in range(3)]))
    hashed = HashedDraws([Streams("layers", 0), Streams("layers", 1)], torch.device("cpu"))
    hashed.begin(1)
    bind_draws(stack, [0, 0, 1], hashed.draw)
    first, second, third = stack(torch.ones(5, 12, 6, 7)).chunk(3, 1)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
