"""What is suggested for which images, and why: sizes, networks, batches, endpoint, margin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regulab.config import build_study, parse_study
from regulab.data.formats.image_levels import DEEP, DEEP_COLOUR, EIGHT, FLOATING
from regulab.data.stratify import stratified
from regulab.data.survey.facts import Facts
from regulab.data.survey.survey import WHOLE, Survey
from regulab.errors import UserError
from regulab.models import NETS
from regulab.suggesting.choices import BATCHES, EPOCHS, Choices, choose
from regulab.suggesting.division import divide
from regulab.suggesting.study_text import study_text


def survey(
    counts: Mapping[str, list[int]],
    sizes: list[tuple[int, int]] | None = None,
    channels: int = 1,
    kind: str = "folder",
) -> Survey:
    """So many images of each class in each part; ``sizes`` (width, height) in turn."""
    sizes = sizes or [(28, 28)]
    images = [
        (part, label) for part, of in counts.items() for label, count in enumerate(of) for _ in range(count)
    ]
    facts = [
        Facts(str(i), part, label, sizes[i % len(sizes)], channels) for i, (part, label) in enumerate(images)
    ]
    names = tuple(f"class {label}" for label in range(len(next(iter(counts.values())))))
    return Survey(Path("photos"), kind, names, facts)


def chosen(found: Survey, *, resizable: bool = True, gpu: bool = False) -> Choices:
    return choose(found, divide(found), resizable=resizable, gpu=gpu)


class TestDivision:
    @pytest.mark.parametrize("counts", [[40, 41, 7], [300, 5, 77], [5, 5], [11, 90]], ids=str)
    def test_it_counts_what_a_study_cuts(self, counts):
        labels = np.repeat(np.arange(len(counts)), counts)
        part = round(len(labels) / 5)
        test = stratified(labels, part, "test")
        rest = np.delete(np.arange(len(labels)), test)
        validation = stratified(labels[rest], part, "validation")
        found = divide(survey({WHOLE: counts}))
        classes = len(counts)
        assert found.test.tolist() == np.bincount(labels[test], minlength=classes).tolist()
        assert found.validation.tolist() == np.bincount(labels[rest][validation], minlength=classes).tolist()
        assert sum(found.sizes) == sum(counts)

    def test_given_parts(self):
        found = divide(survey({"train": [12, 24], "test": [3, 4]}))
        assert (found.sizes, found.validation.tolist()) == ((30, 6, 7), [2, 4])
        assert divide(survey({"train": [12, 24], "val": [1, 2], "test": [3, 4]})).sizes == (36, 3, 7)
        assert divide(survey({"train": [10, 20], "val": [1, 2]})).sizes == (24, 3, 6)

    def test_one_image_of_a_class_is_too_few(self):
        with pytest.raises(UserError, match="too few images"):
            divide(survey({WHOLE: [1, 1, 1]}))


class TestSize:
    def test_small_images_of_one_size_stay_as_they_are(self):
        found = chosen(survey({WHOLE: [50, 50]}, [(28, 20)]))
        assert (found.shape, found.size, found.fit) == ((20, 28), None, None)

    @pytest.mark.parametrize(
        ("size", "channels", "shape", "value"),
        [
            ((512, 512), 3, (64, 64), 64),
            ((640, 480), 3, (48, 64), [48, 64]),
            ((480, 640), 1, (64, 48), [64, 48]),
            ((100, 200), 1, (64, 32), [64, 32]),
        ],
        ids=["square", "wide", "high-grey", "twice-as-high"],
    )
    def test_large_images_of_one_size_keep_their_shape(self, size, channels, shape, value):
        found = chosen(survey({WHOLE: [50, 50]}, [size], channels))
        assert (found.shape, found.size.value, found.fit) == (shape, value, None)

    @pytest.mark.parametrize(
        ("sizes", "side"),
        [
            ([(640, 480), (500, 400), (90, 70)], 64),
            ([(60, 50), (70, 52), (30, 20)], 48),
            ([(6, 5)], 8),
            ([(5, 6), (7, 7)], 8),
            ([(1000, 40)], 32),
        ],
        ids=["photos", "small", "tiny", "tiny-mixed", "ribbon"],
    )
    def test_others_become_squares_that_a_typical_image_fills(self, sizes, side):
        found = chosen(survey({WHOLE: [50, 50]}, sizes, 3))
        assert (found.shape, found.size.value) == ((side, side), side)

    def test_what_is_much_longer_than_wide_is_padded(self):
        assert chosen(survey({WHOLE: [50, 50]}, [(300, 100), (310, 100)])).fit.value == "pad"
        assert chosen(survey({WHOLE: [50, 50]}, [(140, 100), (100, 140)])).fit.value == "crop"

    def test_arrays_have_the_size_that_they_have(self):
        found = chosen(survey({WHOLE: [50, 50]}, [(90, 70)], kind="npz"), resizable=False)
        assert (found.shape, found.size, found.model.value) == ((70, 90), None, "resnet18")


class TestNetwork:
    @pytest.mark.parametrize(
        ("size", "channels", "images", "gpu", "net"),
        [
            ((28, 28), 1, 400, False, "cnn10k"),
            ((28, 28), 1, 400, True, "cnn10k"),
            ((32, 32), 3, 20, False, "resnet20"),
            ((32, 32), 3, 50_000, False, "cnn10k"),
            ((32, 32), 3, 50_000, True, "resnet20"),
            ((640, 480), 3, 5_000, False, "cnn10k"),
            ((640, 480), 3, 5_000, True, "resnet18"),
        ],
        ids=["digits", "digits-gpu", "few", "cifar", "cifar-gpu", "photos", "photos-gpu"],
    )
    def test_by_size_colours_and_what_the_machine_can_bear(self, size, channels, images, gpu, net):
        found = chosen(survey({WHOLE: [images // 2, images // 2]}, [size], channels), gpu=gpu)
        assert found.model.value == net

    @pytest.mark.parametrize("gpu", [False, True], ids=["cpu", "gpu"])
    @pytest.mark.parametrize("channels", [1, 3], ids=["grey", "colour"])
    @pytest.mark.parametrize(
        "sizes",
        [[(8, 8)], [(28, 28)], [(32, 32)], [(64, 64)], [(640, 480)], [(300, 200), (90, 80)]],
        ids=str,
    )
    def test_every_network_is_there_and_made_for_its_images(self, sizes, channels, gpu):
        found = chosen(survey({WHOLE: [9, 9]}, sizes, channels), gpu=gpu)
        net = NETS[found.model.value]
        net.refuse_small(found.shape)
        if (
            min(found.shape) >= 24
        ):  # for smaller ones there is none of colours but the residual ones for few images
            assert net.outside(found.shape) == ""

    def test_a_gpu_sees_the_shorter_side_of_photographs_in_64_pixels(self):
        assert chosen(survey({WHOLE: [50, 50]}, [(640, 480)], 3), gpu=True).shape == (64, 85)


class TestSteps:
    @pytest.mark.parametrize("train", [4, 30, 64, 180, 299, 300, 999, 2500, 30_000])
    def test_batches_divide_and_epochs_stay_in_bounds(self, train):
        found = chosen(survey({"train": [train // 2, train - train // 2], "val": [2, 2], "test": [2, 2]}))
        batch, epochs = found.batch_size.value, found.epochs.value
        assert batch in [size for _, size in BATCHES] or batch == train < 8
        assert train < 64 or train / batch >= 4
        assert EPOCHS[0] <= epochs <= EPOCHS[1]
        assert f"{train:,} images train" in found.batch_size.reason


class TestEndpoint:
    @pytest.mark.parametrize("test", [2, 3, 60, 99, 100, 101, 1000, 9_999, 10_000])
    def test_the_margin_is_never_under_one_test_image(self, test):
        counts = {"train": [test, test], "test": [test - test // 2, test // 2]}
        margin = chosen(survey(counts)).margin.value
        assert margin >= 100 / test
        assert margin == pytest.approx(max(100 / test, 10 / math.sqrt(test)), rel=0.1)

    def test_ten_thousand_images_give_the_default(self):
        found = chosen(survey({"train": [5000, 5000], "test": [5000, 5000]}))
        assert (found.metric.value, found.margin.value) == ("test_accuracy", 0.1)

    def test_unbalanced_classes_count_alike_and_the_smallest_sets_the_margin(self):
        found = chosen(survey({"train": [900, 100], "test": [90, 10]}))
        assert found.metric.value == "balanced_accuracy"
        assert found.margin.value == 5.0  # one of ten images, of one class in two
        assert "9.0 times as many" in found.metric.reason
        assert "90 %" in found.metric.reason
        assert chosen(survey({"train": [290, 100], "test": [9, 3]})).metric.value == "test_accuracy"

    def test_a_class_without_test_images_is_left_out_of_the_margin(self):
        found = chosen(survey({"train": [90, 9, 9], "test": [20, 10, 0]}))
        assert found.margin.value == 5.0


class TestText:
    @pytest.mark.parametrize(
        "data",
        [
            "folder:photos",
            "csv:a b/ü: x.csv",
            "folder:" + "long name " * 30,
            "folder:it's 100% # {a}, [b]",
            "npz:- x.npz",
        ],
        ids=["plain", "odd", "long", "quotes", "dash"],
    )
    def test_it_is_a_study_with_what_was_chosen(self, data):
        found = survey({WHOLE: [300, 40]}, [(640, 480), (90, 90)], 3)
        choices = chosen(found)
        text = study_text(found, divide(found), choices, file="f.yaml", name="photos, 2: ü", data=data)
        study = build_study(parse_study(text, "f.yaml")[0])
        assert (study.name, study.data.name, study.data.size, study.data.fit) == (
            "photos, 2: ü",
            data,
            64,
            "crop",
        )
        assert (study.model.name, study.endpoint.metric) == (choices.model.value, "balanced_accuracy")
        assert (study.train.epochs, study.train.batch_size) == (
            choices.epochs.value,
            choices.batch_size.value,
        )
        assert (len(study.seeds), [*study.arms]) == (7, ["none", "l1", "l2", "l1+l2"])
        assert all(len(line) <= 100 for line in text.splitlines() if line.lstrip().startswith("#"))

    def test_every_choice_has_its_reason_above_it(self):
        found = survey({WHOLE: [300, 40]}, [(640, 480), (90, 90)], 3)
        text = study_text(found, divide(found), chosen(found), file="f.yaml", name="f", data="folder:f")
        lines = text.splitlines()
        for key in ("size", "fit", "batch_size", "epochs", "metric", "margin", "seeds", "arms"):
            (place,) = [i for i, line in enumerate(lines) if line.lstrip().startswith(f"{key}:")]
            assert lines[place - 1].lstrip().startswith("# "), key

    def test_what_only_the_person_can_know_is_there_to_be_uncommented(self):
        found = survey({WHOLE: [300, 40]}, [(32, 32)], 3)
        text = study_text(found, divide(found), chosen(found), file="f.yaml", name="f", data="folder:f")
        for line in ("# augment: {flip: true, rotate: 10}", "# class_weights: balanced"):
            assert f"  {line}\n" in text
        text = text.replace("# augment", "augment").replace("# class_weights", "class_weights")
        study = build_study(parse_study(text, "")[0])
        assert (study.data.augment, study.train.class_weights) == ({"flip": True, "rotate": 10}, "balanced")

    @pytest.mark.parametrize(
        ("depth", "said"), [(DEEP, True), (FLOATING, True), (EIGHT, False), (DEEP_COLOUR, False)]
    )
    def test_levels_of_more_than_8_bits_may_be_given_their_range(self, depth, said):
        found = survey({WHOLE: [50, 50]})
        deep = Survey(
            found.path, "folder", found.class_names, [replace(one, depth=depth) for one in found.images]
        )
        text = study_text(deep, divide(deep), chosen(deep), file="f.yaml", name="f", data="folder:f")
        assert ("  # range: [0, 4095]\n" in text) is said
        assert build_study(parse_study(text.replace("# range", "range"), "")[0]).data.range == (
            (0, 4095) if said else None
        )
