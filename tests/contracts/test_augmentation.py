"""What every operation of augmentation promises, asked of each that is registered, at each of its examples."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regulab.config import validate
from regulab.data import Images
from regulab.data.augmentation import AugmentSettings, all_operations, augment, columns_of, draw_epoch
from regulab.data.preprocessing import fit
from regulab.streams import Streams
from regulab.training.batches import Batches, ImageTensors, InputPlan

EXAMPLES: dict[str, dict[str, Any]] = {
    f"{name} {place}": said
    for name, kind in all_operations().items()
    for place, said in enumerate(kind.examples())
}
EACH = pytest.mark.parametrize("name", EXAMPLES)
ONLY_IN_COLOUR = {"saturation", "hue", "grayscale"}
SHAPE, COUNT = (21, 18), 40
SEEDS = [Streams("contract", 0), Streams("contract", 5)]


def pictures(channels: int) -> np.ndarray:
    """uint8 ``(COUNT, H, W, C)``: levels of all sizes, smooth in places."""
    rng = np.random.default_rng(channels)
    coarse = rng.integers(30, 200, (COUNT, 7, 6, channels)).repeat(3, 1).repeat(3, 2)
    return (coarse + rng.integers(-20, 21, coarse.shape)).astype(np.uint8)


def unit(channels: int) -> Tensor:
    return torch.from_numpy(pictures(channels)).permute(0, 3, 1, 2).float() / 255


def settings(name: str) -> AugmentSettings:
    return validate(AugmentSettings, EXAMPLES[name], name)


def channels_of(name: str) -> tuple[int, ...]:
    return (3,) if name.split()[0] in ONLY_IN_COLOUR else (1, 3)


def drawn(chosen: AugmentSettings, count: int = COUNT) -> dict[str, Tensor]:
    found = draw_epoch(SEEDS[0], 3, count, columns_of([chosen]))
    return {stream: torch.from_numpy(table) for stream, table in found.items()}


def changed(x: Tensor, chosen: AugmentSettings, draws: dict[str, Tensor]) -> Tensor:
    return augment(x, draws, chosen.operations(), x.mean((0, 2, 3))[:, None, None])


@pytest.mark.parametrize("name", all_operations())
def test_it_is_documented(name):
    kind = all_operations()[name]
    text = inspect.cleandoc(kind.__doc__ or "")
    assert len(text.partition("\n")[0]) > 20
    assert "Source: " in text
    assert kind.source
    for key in kind.keys or (name,):
        assert AugmentSettings.model_fields[key].description
    for side in (28, 224):
        assert all(validate(AugmentSettings, said, name).active for said in kind.samples(side))


@EACH
def test_it_changes_images_and_keeps_shape_type_and_range(name):
    chosen = settings(name)
    for channels in channels_of(name):
        x = unit(channels)
        before = x.clone()
        found = changed(x, chosen, drawn(chosen))
        assert torch.equal(x, before), "the input stays as it was"
        assert found.shape == x.shape
        assert found.dtype == x.dtype
        assert found.min() >= 0
        assert found.max() <= 1 + 1e-6
        assert (found != x).flatten(1).any(1).float().mean() > 0.3


@EACH
def test_an_image_depends_on_its_own_draws_alone(name):
    """Alone, in part, in another order: to the bit, but for the oldest map, whose matrix product may round."""
    chosen = settings(name)
    apart = 0.0 if all(one.in_parts() for one in chosen.operations()) else 1e-6
    for channels in channels_of(name):
        x, draws = unit(channels), drawn(chosen)
        mean = x.mean((0, 2, 3))[:, None, None]
        together = augment(x, draws, chosen.operations(), mean)
        order = torch.from_numpy(np.random.default_rng(0).permutation(COUNT))
        for places in (order, order[:7], torch.tensor([13])):
            rows = {stream: table[places] for stream, table in draws.items()}
            some = augment(x[places], rows, chosen.operations(), mean)
            torch.testing.assert_close(some, together[places], atol=apart, rtol=0)
        other = x.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(
            augment(other, draws, chosen.operations(), mean), together, atol=1e-6, rtol=0
        )


@EACH
def test_a_step_that_a_device_replays_does_the_same(name, monkeypatch):
    """Without asking who is chosen, and over the whole batch: what is done where values cannot be read back."""
    chosen = settings(name)
    for channels in channels_of(name):
        x, draws = unit(channels), drawn(chosen)
        want = changed(x, chosen, draws)
        with monkeypatch.context() as patched:
            patched.setattr("regulab.data.augmentation.operation.can_read_back", lambda x: False)
            patched.setattr("regulab.data.augmentation.changing.VALUES", x.numel())
            replayed = changed(x, chosen, draws)
        assert torch.equal(replayed, want)


@EACH
def test_on_a_device_it_copies_nothing_from_the_host_and_reads_nothing_back(name):
    """Tensors without values fail where a value is asked for, or where one of the host's is beside them."""
    chosen = settings(name)
    for channels in channels_of(name):
        x = unit(channels).to("meta")
        draws = {stream: table.to("meta") for stream, table in drawn(chosen).items()}
        found = augment(x, draws, chosen.operations(), torch.empty(channels, 1, 1, device="meta"))
        assert found.device.type == "meta"
        assert found.shape == x.shape
        assert found.dtype == x.dtype


@EACH
def test_runs_together_get_what_each_gets_alone(name):
    """Two seeds, with it and without: every run's batches as those of a plain run, to the bit; draws are shared."""
    channels = channels_of(name)[-1]
    images = Images(pixels=pictures(channels), labels=np.arange(COUNT) % 3)
    chosen = settings(name)
    together = batches(images, InputPlan(SEEDS, [None, chosen], [0, 0, 1, 1], [0, 1, 0, 1]))
    orders = together.orders(2)
    apart = 0.0 if all(one.in_parts() for one in chosen.operations()) else 1e-5
    found = [x for x, _ in together.epoch(orders, 2)]
    for run, (seed, setting) in enumerate(((0, None), (0, chosen), (1, None), (1, chosen))):
        alone = batches(images, InputPlan([SEEDS[seed]], [setting], [0], [0]))
        for x, (single, _) in zip(found, alone.epoch(orders[seed : seed + 1], 2), strict=True):
            torch.testing.assert_close(x[:, run], single[:, 0], atol=apart, rtol=0)
    assert not torch.equal(found[0][:, 0], found[0][:, 1])


def batches(images: Images, plan: InputPlan) -> Batches:
    return Batches(ImageTensors.of(images, torch.device("cpu")), fit(images, "dataset"), plan, 13)


@EACH
def test_other_settings_leave_its_draws_and_changes(name):
    """What another arm asks for besides changes nothing here."""
    chosen = settings(name)
    more = validate(
        AugmentSettings, {"rotate": 3, "noise": 0.1, "erase": 0.5, "rand_augment": {"n": 3}}, "more"
    )
    columns = columns_of([more, chosen])
    with_others = draw_epoch(SEEDS[0], 3, COUNT, columns)
    alone = draw_epoch(SEEDS[0], 3, COUNT, columns_of([chosen]))
    for stream, table in alone.items():
        assert np.array_equal(with_others[stream], table)


@EACH
def test_it_changes_from_epoch_to_epoch_and_from_seed_to_seed(name):
    columns = columns_of([settings(name)])
    tables = [
        np.concatenate(list(draw_epoch(streams, epoch, COUNT, columns).values()), 1)
        for streams in SEEDS
        for epoch in (1, 2)
    ]
    assert len({table.tobytes() for table in tables}) == 4


def test_the_mean_of_a_fill_is_that_of_the_training_images():
    images = Images(pixels=pictures(3), labels=np.arange(COUNT) % 3)
    chosen = validate(AugmentSettings, {"cutout": {"size": 30}}, "f")
    for normalize in ("dataset", "none"):
        some = Batches(
            ImageTensors.of(images, torch.device("cpu")),
            fit(images, normalize),
            InputPlan(SEEDS[:1], [chosen], [0], [0]),
            13,
        )
        x, _ = next(some.epoch(some.orders(1), 1))
        want = (
            torch.zeros(3)
            if normalize == "dataset"
            else torch.from_numpy(pictures(3) / 255.0).mean((0, 1, 2)).float()
        )
        covered = x[:, 0, :, 10, 9]  # the middle, which most squares of 30 cover
        hits = (covered - want).abs().amax(1) < 1e-6
        assert hits.float().mean() > 0.5
