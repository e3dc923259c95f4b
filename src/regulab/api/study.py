"""`Study` as people write it in Python, checked on the line that makes it, or load it from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from regulab import config
from regulab.api.objects import with_names
from regulab.api.values import plain, plain_arms, plain_factors
from regulab.config.effects import settle
from regulab.config.loading import put_key
from regulab.config.paths import is_user_model
from regulab.data import find_dataset
from regulab.errors import UserError
from regulab.models import net_of, refuse_choices
from regulab.results.arguments import path
from regulab.techniques import arms_of
from regulab.values.complaints import explaining, refuse_non_finite

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from torch import nn

    from regulab.techniques.technique import Technique

    class SampleDataset(Protocol):
        """A dataset, such as torch's: ``dataset[index]`` is an (image, label)."""

        def __getitem__(self, index: Any, /) -> Any: ...

    Arm = Mapping[str, Any] | Technique | Sequence[Technique] | None
    Levels = Sequence[float | str | Mapping[str, Any] | Technique | None] | Mapping[str, Arm]
    ImagesOrName = str | os.PathLike[str] | Mapping[str, Any] | Sequence[Any] | SampleDataset
    NetworkOrName = str | Mapping[str, Any] | Callable[..., nn.Module]

PARTS = ("data", "protocol", "model", "train", "endpoint")  # whose keys an override changes one by one


class Study(config.Study):
    """A question: one dataset, one model, one training protocol, several arms, several seeds, one baseline.

    ``Study(name="mine", data="mnist", seeds=5, arms={"none": {}, "l1": {"l1": 1e-4}})``: the keys of the study file
    (``docs/study-file.md``) as keywords, each with the default that it has there. An arm maps the names of techniques
    to strengths or to mappings of their parameters; it may also be a technique, ``L1(strength=1e-4)``, or a list of
    them. ``factors`` in the place of ``arms`` makes an arm of every combination: ``factors={"l1": [0, 1e-4],
    "dropout": [0, 0.2]}``.
    ``seeds`` is a count or the seeds themselves.

    ``model`` is a name, a class, or a function that returns a new network; ``data`` a name, a path, arrays ``(x, y)``
    or ``(x_train, y_train, x_test, y_test)``, a dataset of (image, label) that is read once, or a mapping of parts,
    ``{"train": (x, y), "test": (x, y)}``; either may be a mapping of its keys, with one of these as its ``name``.
    Images are bytes ``(N, H, W[, C])`` or ``(N, C, H, W)`` or floats from 0 to 1, labels anything that can be told
    apart.

    A study is frozen. ``to_yaml()`` is its study file, defaults written out. Objects stand in it as paths into the run
    directory, ``given/HASH/…``: this process holds them, and the run directory keeps the images, and the source of the
    network with what that needs of the program around it. Given the same again, or that directory's own ``study.yaml``,
    the study goes on; other images or another network are refused. Raises `UserError`, in the words that a
    study file gets, for a key, value, technique, dataset or network that does not exist or is out of range, and for
    what would have no effect.
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: str = ...,
            key: str | None = ...,
            data: ImagesOrName = ...,
            protocol: str | Mapping[str, Any] = ...,
            model: NetworkOrName = ...,
            train: Mapping[str, Any] = ...,
            endpoint: Mapping[str, Any] = ...,
            seeds: int | Sequence[int] = ...,
            pairing: str = ...,
            baseline: str = ...,
            arms: Mapping[str, Arm] = ...,
            factors: Mapping[str, Levels] = ...,
            tune: Mapping[str, Any] | None = ...,
        ) -> None: ...

    else:

        def __init__(self, /, **content: Any) -> None:
            source = config.Source()
            content = settle(_file_content(content), source)
            refuse_non_finite(content, source)
            with explaining(config.Study, source):
                BaseModel.__init__(self, **content)
            _check_names(self)

        __init__.__pydantic_base_init__ = (
            True  # as in `Part`: a study that is read from a file is no call of this
        )


def load_study(study: str | os.PathLike[str] | config.Study = "l1-l2", **changes: Any) -> Study:
    """A built-in study by its name, a study file, or a `Study`, with changes by keyword.

    A keyword that names a part of the study changes the keys that it is given and leaves the others:
    ``train={"epochs": 5}``. Any other replaces what stood there: ``seeds=3``, ``arms={…}``. A dotted key reaches single
    values: ``**{"train.optimizer.lr": 0.1}``. Raises `UserError` as the study file does, naming file, line or keyword.
    """
    content, source = _read(study)
    content.pop("resolved", None)
    for keyword, value in changes.items():
        for key, inner in _settings(keyword, value):
            put_key(content, key, inner, source, f"keyword {keyword}")
    loaded = config.validate(Study, settle(content, source), source)
    with source.locating():
        _check_names(loaded)
    return loaded


def _read(study: str | os.PathLike[str] | config.Study) -> tuple[dict[str, Any], config.Source]:
    if isinstance(study, config.Study):
        content = study.model_dump(mode="json", exclude_none=True, exclude={"resolved"})
        return content, config.Source()
    if not isinstance(study, str | os.PathLike):
        expected = "the name of a built-in study, a study file, or a Study"
        raise UserError("not a study", got=study, expected=expected)
    path(study, "study")
    return config.load_mapping(
        os.path.expanduser(study)
    )  # the text: "./l1-l2" is a file, "l1-l2" a built-in study


def _settings(keyword: str, value: Any) -> list[tuple[str, Any]]:
    """The dotted keys that a keyword sets, with their values as a study file has them."""
    value = with_names({keyword: value})[keyword]
    written = _plain(keyword, value)
    if keyword in PARTS and isinstance(written, dict) and all(isinstance(key, str) for key in written):
        return [(f"{keyword}.{key}", inner) for key, inner in written.items()]
    return [(keyword, written)]


def _plain(key: str, value: Any) -> Any:
    written: Any = {"arms": plain_arms, "factors": plain_factors}.get(key, plain)(value)
    return written


def _file_content(content: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords as the mapping of a study file."""
    return {key: _plain(key, value) for key, value in with_names(content).items() if key != "resolved"}


def _check_names(study: config.Study) -> None:
    """Raises `UserError` for techniques, networks and datasets that are not there, and for techniques' values."""
    if not is_user_model(study.model.name):
        refuse_choices(net_of(study.model), study.model)
    find_dataset(study.data)
    arms_of(study)
