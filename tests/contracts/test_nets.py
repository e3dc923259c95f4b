"""What every registered net promises, with every norm: its examples stand in it."""

from __future__ import annotations

import pytest
import torch

from regulab.errors import UserError
from regulab.models import NETS, NORMS, build, named
from regulab.models.stacking import Unstackable
from regulab.streams import Streams
from regulab.training.stack_check import check_stack

# What a norm may say of the channels and maps of these small networks: group and instance norm do.
REFUSED = ("groups do not divide", "Expected more than 1 spatial element")
NORM_EXAMPLES = [(name, k) for name, kind in NORMS.items() for k in range(len(kind.examples()))]


@pytest.mark.parametrize("name", NETS)
def test_it_says_what_it_is_and_gives_examples(name):
    net = NETS[name]
    assert net.summary
    assert net.description
    assert net.examples, f"{name} has no examples: give one Model at least, for these tests to build"
    assert all(model.name == name for model in net.examples)


CASES = [
    (name, example, norm, k)
    for name, net in NETS.items()
    for example in range(len(net.examples))
    for norm, k in (NORM_EXAMPLES if "norm" in net.takes else [("batch", 0)])
]


@pytest.mark.parametrize(("name", "example", "norm", "k"), CASES)
def test_it_classifies_trains_and_stacks(name, example, norm, k):
    value = NORMS[norm].examples()[k]
    model = NETS[name].examples[example].model_copy(update={"norm": named(value)})
    x = torch.rand(6, 3, 17, 12, generator=torch.Generator().manual_seed(1))
    try:
        modules = [build(model, 3, 7, Streams("nets", seed), x) for seed in range(2)]
        shape = modules[0].eval()(x).shape
    except (UserError, ValueError) as error:
        if not any(words in str(error) for words in REFUSED):
            raise
        pytest.skip(f"{norm} refuses these channels and maps: {error}")
    assert shape == (6, 7)
    modules[0](x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in modules[0].parameters())
    if value.stacks:
        check_stack(modules, x)
    else:
        with pytest.raises(Unstackable):
            check_stack(modules, x)
