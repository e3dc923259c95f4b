"""A dataset of (image, label) read once: torch's, Hugging Face's, or any sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.errors import UserError
from regulab.models.guard import words_of

IMAGE_KEYS = ("image", "img", "images", "pixel_values", "pixels", "x")
LABEL_KEYS = ("label", "labels", "target", "class", "fine_label", "y")
SAMPLE = 'an (image, label), or a mapping {"image": …, "label": …}'
MODES = {"L": np.uint8, "RGB": np.uint8, "1": np.bool_}  # Pillow's, with what their arrays hold
AGAIN = 8  # samples that are read a second time
SHOWN = 5


def is_array(value: Any) -> bool:
    """Whether a value is an array, a tensor, or a table of numbers."""
    return hasattr(value, "__array__")


def is_samples(value: Any) -> bool:
    """Whether a value is a dataset: its items are samples, and it is no array."""
    if is_array(value) or isinstance(value, Mapping | str | bytes):
        return False
    if isinstance(value, list | tuple):
        return bool(value) and all(_is_sample(item) for item in value[:2])
    return hasattr(value, "__getitem__")


def read_samples(dataset: Any, where: str) -> tuple[NDArray[Any], list[Any]]:
    """The images ``(N, …)`` of a dataset and their labels, each sample read once.

    Some are read again at the end: raises `UserError` where they differ, for then the dataset draws at random. So it
    does for samples that are none, for images of different shapes or kinds (with their places), and for whatever the
    dataset itself raises.
    """
    count = _count(dataset, where)
    labels: list[Any] = []
    images: NDArray[Any] | None = None
    others: dict[str, list[int]] = {}
    for index in range(count):
        image, label = _sample(dataset, index, where)
        labels.append(label)
        if images is None:
            images = np.empty((count, *image.shape), image.dtype)
        if image.shape != images.shape[1:] or image.dtype != images.dtype:
            others.setdefault(f"{image.dtype} {image.shape}", []).append(index)
        else:
            images[index] = image
    assert images is not None
    if others:
        _refuse_various(f"{images.dtype} {images.shape[1:]}", others, where)
    _refuse_random(dataset, images, labels, where)
    return images, labels


def as_array(images: Any, where: str) -> NDArray[Any]:
    """Images as one array: an array, a tensor, or a sequence of images of one shape."""
    if is_array(images):
        try:
            return _of_tensor(images)
        except Exception as error:  # sparse, without data, or of a kind that numpy has not
            raise UserError(f"no array of numbers: {words_of(error)}", where=where) from error
    found = [_image(image, index, where) for index, image in enumerate(images)]
    if not found:
        raise UserError("no images", expected="one image at least", where=where)
    kinds: dict[str, list[int]] = {}
    for index, image in enumerate(found):
        kinds.setdefault(f"{image.dtype} {image.shape}", []).append(index)
    first, *_ = kinds
    if len(kinds) > 1:
        _refuse_various(first, {kind: places for kind, places in kinds.items() if kind != first}, where)
    return np.stack(found)


def _is_sample(item: Any) -> bool:
    """An image with something that is no sequence beside it."""
    if isinstance(item, Mapping):
        return any(key in item for key in IMAGE_KEYS)
    if not isinstance(item, tuple | list) or len(item) != 2 or isinstance(item[0], str | int | float):
        return False
    label = item[1]
    return len(np.shape(label)) == 0 or (is_array(label) and np.prod(label.shape) == 1)


def _count(dataset: Any, where: str) -> int:
    try:
        count = len(dataset)
    except (TypeError, NotImplementedError, AttributeError):
        raise UserError(
            "a dataset that does not say how many samples it has",
            got=type(dataset),
            expected="one with a length; a stream as list(dataset)",
            where=where,
        ) from None
    if count == 0:
        raise UserError("a dataset without samples", got=type(dataset), expected=SAMPLE, where=where)
    return count


def _sample(dataset: Any, index: int, where: str) -> tuple[NDArray[Any], Any]:
    try:
        sample = dataset[index]
    except Exception as error:  # a person's code
        raise UserError(f"sample {index} cannot be read: {words_of(error)}", where=where) from error
    if isinstance(sample, Mapping):
        keys = [next((key for key in known if key in sample), None) for known in (IMAGE_KEYS, LABEL_KEYS)]
        if None in keys:
            raise UserError(
                f"sample {index} has no {'image' if keys[0] is None else 'label'}",
                got=[*sample],
                expected=SAMPLE,
                where=where,
            )
        image, label = sample[keys[0]], sample[keys[1]]
    elif isinstance(sample, tuple | list) and len(sample) == 2:
        image, label = sample
    else:
        got = (
            f"{type(sample).__name__} of {len(sample)}" if isinstance(sample, tuple | list) else type(sample)
        )
        raise UserError(f"sample {index} is no image with its label", got=got, expected=SAMPLE, where=where)
    return _image(image, index, where), _label(label)


def _label(label: Any) -> Any:
    """A tensor or array of one value as that value."""
    if hasattr(label, "detach"):
        label = label.detach().cpu().numpy()
    return label.reshape(-1)[0].item() if isinstance(label, np.ndarray) and label.size == 1 else label


def _image(image: Any, index: int, where: str) -> NDArray[Any]:
    mode = getattr(image, "mode", None)
    if isinstance(mode, str) and hasattr(image, "convert"):
        if mode not in MODES:
            raise UserError(
                f"image {index} is neither grey nor RGB",
                got=f"Pillow's mode {mode}",
                expected='image.convert("RGB") or image.convert("L")',
                where=where,
            )
        return np.asarray(image, MODES[mode])
    try:
        return _of_tensor(image)
    except Exception as error:  # a ragged list, a tensor of a kind that numpy has not
        raise UserError(f"image {index} is no array of numbers: {words_of(error)}", where=where) from error


def _of_tensor(value: Any) -> NDArray[Any]:
    """An array, or a tensor of any device and precision; raises what numpy and torch raise for what is neither."""
    if isinstance(value, np.ma.MaskedArray) and bool(np.any(value.mask)):
        raise ValueError(f"{np.sum(value.mask):,} masked values, of which nobody says what they are")
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if value.is_floating_point() and value.element_size() < 4:  # bfloat16, which numpy has not; exact
            value = value.float()
    return np.asarray(value)


def _refuse_various(first: str, others: Mapping[str, Sequence[int]], where: str) -> None:
    named = [f"{kind} of {_listed(places)}" for kind, places in others.items()]
    more = f" and {len(named) - SHOWN:,} kinds more" if len(named) > SHOWN else ""
    raise UserError(
        "images of different shapes or kinds",
        got=f"{first} of most or of the first, {'; '.join(named[:SHOWN])}{more}",
        expected="images of one size and kind: bring them to one in the dataset; a folder of them with data.size",
        where=where,
    )


def _listed(places: Sequence[int]) -> str:
    shown = ", ".join(map(str, places[:SHOWN]))
    return f"{'image' if len(places) == 1 else 'images'} {shown}" + (
        f" and {len(places) - SHOWN:,} more" if len(places) > SHOWN else ""
    )


def _refuse_random(dataset: Any, images: NDArray[Any], labels: Sequence[Any], where: str) -> None:
    """Reads samples spread over the dataset again."""
    for index in sorted({round(place) for place in np.linspace(0, len(labels) - 1, AGAIN)}):
        image, label = _sample(dataset, index, where)
        same = image.shape == images.shape[1:] and np.array_equal(
            image, images[index], equal_nan=image.dtype.kind == "f"
        )
        if not same or not np.array_equal(label, labels[index]):
            raise UserError(
                f"sample {index} is another {'image' if not same else 'label'} when it is read again",
                got="a dataset that draws at random",
                expected="one without random transforms: regulab draws them anew for every epoch, the same for all"
                " arms of a seed (data.augment)",
                where=where,
            )
