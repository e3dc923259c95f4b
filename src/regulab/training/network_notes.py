"""What a person should know of the network of a study: how it was built, what of it was given or is not trained, its
size."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase

from torch import nn

from regulab import models
from regulab.errors import UserError
from regulab.models.freezing import frozen, frozen_statistics
from regulab.models.guard import guarded
from regulab.models.measuring import measure
from regulab.training.setup import Setup

NAMED = 5  # parameters, or classes; of more the number is given


def network_notes(setup: Setup) -> list[str]:
    """Sentences for the dry run, the terminal and the report."""
    return [*_of_the_network(setup), *_of_given_weights(setup), *_of_frozen_parameters(setup)]


def sizes(setup: Setup) -> list[str]:
    """How large the networks are, in words; nothing for one that cannot be counted."""
    x = setup.first_images(1)[:1]
    _, channels, height, width = x.shape
    name, found = setup.study.model.name, dict[str, list[str]]()
    for arms in setup.architectures:
        with suppress(UserError), guarded(f"{name} cannot be counted", where=models.WHERE):
            size = measure(setup.module(setup.run(arms[0], 0)), x)
            found.setdefault(size.sentence(channels, height, width), []).extend(arms)
    if len(found) < 2:
        return [f"{name}: {sentence}" for sentence in found]
    return [
        f"{name} of {shortened([f'“{arm}”' for arm in arms])}: {sentence}" for sentence, arms in found.items()
    ]


def _of_the_network(setup: Setup) -> list[str]:
    """With which arguments its constructor was called, and whether it is made for images of this size."""
    model = setup.study.model
    _, height, width, _ = setup.images.pixels.shape
    if not models.is_user_model(model.name):
        outside = models.net_of(model).outside((height, width))
        return [outside] if outside else []
    calls = {models.how_called(setup.architecture(run).model): None for run in setup.examples()}
    return [f"the network is built as {call}" for call in calls if call]


def _of_given_weights(setup: Setup) -> list[str]:
    """What of a run is not random."""
    given = setup.study.model.weights
    if given is None:
        return []
    first, *_ = setup.examples()
    own = [
        name
        for name, _ in setup.initial(first).named_parameters()
        if any(fnmatchcase(name, pattern) for pattern in given.skip)
    ]
    new = f", and in what {shortened(own)} start{'s' * (len(own) == 1)} from" if own else ""
    return [
        f"all runs start from the weights in {given.file}: seeds differ in the order of the images, augmentation and "
        f"dropout{new}; how other initial weights would fare, their spread does not tell"
    ]


def _of_frozen_parameters(setup: Setup) -> list[str]:
    networks = [setup.initial(run) for run in setup.examples()]
    names = list(dict.fromkeys(name for network in networks for name in frozen(network)))
    if not names:
        return []
    texts = list(dict.fromkeys(_shares_frozen(network) for network in networks if frozen(network)))
    moved = any(frozen_statistics(network) for network in networks)
    statistics = "; running statistics of frozen batch norms follow the training images" if moved else ""
    return [
        f"frozen, so neither trained nor penalized nor counted: {shortened(names)} ({', '.join(texts)}){statistics}"
    ]


def _shares_frozen(network: nn.Module) -> str:
    still = sum(network.get_parameter(name).numel() for name in frozen(network))
    return f"{still:,} of {sum(p.numel() for p in network.parameters()):,} parameters"


def shortened(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
