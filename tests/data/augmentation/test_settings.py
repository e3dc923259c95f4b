"""What a study file may say of augmentation, what is refused, and what legends make of it."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import pytest

from regulab.config import validate
from regulab.data.augmentation import AugmentSettings, all_operations, columns_of, draw_epoch
from regulab.errors import UserError
from regulab.streams import Streams
from regulab.techniques.augmentation import Augmentation
from tests.data.augmentation.settings import settings_of


def test_everything_is_done_in_the_order_of_the_keys():
    assert list(all_operations()) == [
        "affine",
        "crop",
        "resized_crop",
        "brightness",
        "contrast",
        "saturation",
        "hue",
        "gamma",
        "sharpness",
        "grayscale",
        "invert",
        "autocontrast",
        "equalize",
        "solarize",
        "posterize",
        "trivial_augment",
        "rand_augment",
        "blur",
        "noise",
        "cutout",
        "erase",
    ]
    keys = {key for name, kind in all_operations().items() for key in kind.keys or (name,)}
    assert keys | {"fill"} == set(AugmentSettings.model_fields)


LABELS: list[tuple[dict[str, Any], str]] = [
    ({}, "no augmentation"),
    ({"rotate": 7, "translate": 2}, "rotate ±7°, shift ±2 px"),
    ({"scale": 0.1, "flip": True}, "scale ±10 %, flip"),
    ({"rotate": [-5, 15], "fill": "mean"}, "rotate −5 to 15°, fill mean"),
    ({"translate": 2, "translate_y": 0}, "shift x ±2 px"),
    ({"translate_x": [0, 3], "shear_x": 10}, "shift x 0 to 3 px, shear x ±10°"),
    ({"scale": [0.8, 1.1], "flip": "vertical"}, "scale ×0.8 to 1.1, flip vertically"),
    ({"flip": "horizontal"}, "flip"),
    ({"crop": 4, "flip": "both"}, "flip both ways, crop (padding 4)"),
    ({"crop": {"padding": 4, "fill": "reflect"}}, "crop (padding 4, reflect)"),
    ({"crop": 4, "fill": [1, 2, 3]}, "crop (padding 4, [1, 2, 3])"),
    ({"resized_crop": True}, "resized crop 8–100 %"),
    ({"brightness": 0.4, "contrast": [0.5, 2]}, "brightness ±40 %, contrast ×0.5 to 2"),
    ({"saturation": 0.4, "hue": 0.1}, "saturation ±40 %, hue ±0.1"),
    ({"gamma": 0.3, "sharpness": 1}, "gamma ±30 %, sharpness ±100 %"),
    ({"grayscale": 0.2, "invert": 1}, "grayscale 20 %, invert 100 %"),
    ({"solarize": 100, "posterize": True}, "solarize from 100 (50 %), posterize to 4 bits (50 %)"),
    ({"trivial_augment": True, "fill": 128}, "TrivialAugment (fill 128)"),
    ({"rand_augment": {"m": 12}}, "RandAugment (n=2, m=12)"),
    ({"rand_augment": {"fill": "edge"}}, "RandAugment (n=2, m=9, fill edge)"),
    ({"blur": [0.1, 2], "noise": 0.05}, "blur σ 0.1 to 2 px, noise σ 0.05"),
    ({"cutout": 8, "erase": {}}, "cutout 8 px, erase (50 %)"),
    (
        {"cutout": {"size": 8, "fill": 0}, "erase": {"value": "random"}},
        "cutout 8 px (0), erase (50 %, random)",
    ),
]


@pytest.mark.parametrize(("given", "label"), LABELS, ids=[label for _, label in LABELS])
def test_labels(given, label):
    chosen = settings_of(**given)
    assert chosen.label() == label
    assert chosen.active == bool(given)
    assert validate(Augmentation, given, "f").legend() == label
    assert hash(chosen) == hash(settings_of(**given))
    assert settings_of(**chosen.model_dump(mode="json")) == chosen


def test_what_asks_for_nothing_is_as_good_as_absent():
    nothing = dict.fromkeys(("rotate", "brightness", "hue", "invert", "blur", "noise"), 0)
    off = {"crop": False, "erase": False, "trivial_augment": False, "rand_augment": False, "flip": False}
    assert not settings_of(**nothing, **off).active
    assert columns_of([settings_of(**nothing, **off), None]) == {}


def test_streams_are_named_for_operations_and_a_larger_n_adds_to_a_smaller():
    assert columns_of([settings_of(rotate=7)]) == {"": 5}
    assert columns_of([settings_of(brightness=0.1, noise=0.1)]) == {"brightness": 1, "noise": 3}
    two, three = (columns_of([settings_of(rand_augment={"n": n})]) for n in (2, 3))
    assert two.items() < three.items()
    assert columns_of([settings_of(shear_x=3, flip="both")]) == {"": 5, "shear": 2, "vertical flip": 1}


def test_the_oldest_draws_stay_as_they_are_to_the_bit():
    """Existing studies are repeated by them: rotation, shifts, scale and flip from a stream without a name."""
    table = draw_epoch(Streams("golden", 3), 2, 65, columns_of([settings_of(rotate=7)]))[""]
    old = Streams("golden", 3).generator("augmentation", epoch=2).bit_generator.random_raw(65 * 5)
    assert np.array_equal(table, ((old >> np.uint64(40)) / 2**24).reshape(65, 5).astype(np.float32))
    digest = "369285cd0c22925e736a6ace22a0da0cf5adb6ca3fceeea1c0619e51b48d86d9"
    assert hashlib.sha256(table.astype("<f4").tobytes()).hexdigest() == digest


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"rotate": -1},
        ["data.augment: rotate: out of range; got -1; expected number ≥ 0, ≤ 180 or [2 numbers"],
    ),
    ({"rotate": 181}, ["rotate: out of range; got 181"]),
    ({"rotate": [15, -5]}, ["rotate: from a higher number to a lower one; got [15, -5]; write [-5, 15]"]),
    ({"rotate": [-200, 0]}, ["rotate: out of range; got [-200, 0]"]),
    ({"rotate": [1, 2, 3]}, ["rotate: not two numbers; got [1, 2, 3]"]),
    ({"rotate": [0, 0]}, ["rotate: has no effect"]),
    ({"rotate": True}, ["rotate: neither a number nor a name"]),
    ({"rotate": "much"}, ["rotate: not a number; got 'much'"]),
    ({"rotate": None}, ["rotate: empty"]),
    ({"rotate": {"x": 1}}, ["rotate: neither a number nor a range"]),
    ({"rotate": ["a", 1]}, ["rotate: not a number"]),
    ({"rotate": "nan"}, ["rotate: not a finite number"]),
    ({"translate": -0.5}, ["translate: out of range; got -0.5"]),
    ({"translate": {"x": 1}}, ["translate: neither a number nor a range"]),
    ({"scale": 1}, ["scale: out of range; got 1"]),
    ({"scale": [-0.1, 0.2]}, ["scale: out of range; got [-0.1, 0.2]"]),
    ({"scale": float("nan")}, ["scale: not a finite number"]),
    ({"shear": 1}, ["data.augment: shear: unknown key; got 1", "did you mean shear_"]),
    ({"brightnes": 0.2}, ["brightnes: unknown key", "did you mean brightness?"]),
    ({"brightness": -0.2}, ["brightness: out of range"]),
    ({"brightness": [1, 1]}, ["brightness: has no effect"]),
    ({"hue": 0.6}, ["hue: out of range; got 0.6"]),
    ({"gamma": 1}, ["gamma: out of range"]),
    ({"gamma": [0, 1]}, ["gamma: out of range"]),
    ({"invert": 1.5}, ["invert: out of range; got 1.5"]),
    ({"flip": "sideways"}, ["flip: unknown value; got 'sideways'; expected one of true, false, horizontal"]),
    ({"flip": "verticl"}, ["did you mean vertical?"]),
    ({"fill": "mean"}, ["fill: has no effect: nothing comes from outside; got 'mean'"]),
    ({"fill": 128, "flip": True}, ["fill: has no effect"]),
    ({"fill": 128, "cutout": 3}, ["fill: has no effect"]),
    ({"fill": 128, "crop": {"padding": 1, "fill": 3}}, ["fill: has no effect"]),
    ({"rotate": 3, "fill": 256}, ["fill: out of range; got 256; expected a level from 0 to 255"]),
    ({"rotate": 3, "fill": "reflct"}, ["fill: unknown value; got 'reflct'", "did you mean reflect?"]),
    ({"rotate": 3, "fill": [1, 2]}, ["fill: not three levels; got [1, 2]"]),
    ({"rotate": 3, "fill": [1, 2, 300]}, ["fill: out of range"]),
    ({"rotate": 3, "fill": True}, ["fill: neither a number nor a name"]),
    ({"crop": {"pading": 4}}, ["crop.pading: unknown key", "did you mean padding?"]),
    ({"crop": {}}, ["crop.padding: missing"]),
    ({"crop": True}, ["crop: not a mapping of keys"]),
    ({"crop": 0}, ["crop.padding: out of range; got 0"]),
    ({"crop": 1.5}, ["crop.padding: not a whole number"]),
    ({"crop": {"padding": 4, "fill": "meen"}}, ["crop.fill: unknown value", "did you mean mean?"]),
    ({"resized_crop": {"scale": [1, 0.08]}}, ["resized_crop.scale: from a higher number", "write [0.08, 1]"]),
    ({"resized_crop": {"scale": [0, 1]}}, ["resized_crop.scale", "out of range; got 0"]),
    ({"resized_crop": {"ratio": [2, 1]}}, ["resized_crop.ratio: from a higher number"]),
    ({"resized_crop": 0.5}, ["resized_crop: not a mapping of keys"]),
    ({"erase": {"probability": 0}}, ["erase.probability: out of range; got 0"]),
    ({"erase": {"value": "reflect"}}, ["erase.value: unknown value; got 'reflect'"]),
    ({"cutout": 0}, ["cutout.size: out of range"]),
    ({"solarize": 300}, ["solarize.threshold: out of range"]),
    ({"posterize": 8}, ["posterize.bits: out of range; got 8"]),
    ({"trivial_augment": "wide"}, ["trivial_augment: neither true nor false"]),
    ({"rand_augment": {"n": 0}}, ["rand_augment.n: out of range"]),
    ({"rand_augment": {"m": 31}}, ["rand_augment.m: out of range"]),
    ({"rand_augment": 9}, ["rand_augment: not a mapping of keys"]),
    ({"blur": -1}, ["blur: out of range"]),
    ({"noise": 25}, ["noise: out of range; got 25"]),
]


@pytest.mark.parametrize(("given", "said"), REFUSED, ids=[re.sub(r"\W+", "-", str(g)) for g, _ in REFUSED])
def test_what_is_wrong_is_refused_in_words(given, said):
    for kind in (AugmentSettings, Augmentation):
        with pytest.raises(UserError) as refused:
            validate(kind, given, "data.augment")
        for words in said:
            assert words in str(refused.value)


def test_the_arms_own_word_is_a_rotation():
    assert validate(Augmentation, {"rotate": [-5, 15]}, "f") == Augmentation(rotate=(-5, 15))
