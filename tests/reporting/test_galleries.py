from dataclasses import replace

import numpy as np
import pytest

from regulab.records import Mistakes, Predictions
from regulab.reporting.figures import galleries
from regulab.reporting.mistakes import caption, percent, select, title
from regulab.reporting.naming import PictureNames
from regulab.wording import one_line
from tests.reporting.factory import make_records


def records_with(wrong_by_seed, *, images=40):
    """One arm; each seed gets a mapping of image -> confidence in a wrong prediction."""
    labels = np.arange(images) % 10
    predictions = {}
    for seed, wrong in wrong_by_seed.items():
        predicted, confidence = labels.copy(), np.full(images, 0.99, np.float32)
        for index, value in wrong.items():
            predicted[index], confidence[index] = (labels[index] + 1) % 10, value
        predictions["none", seed] = Predictions(labels=labels, predicted=predicted, confidence=confidence)
    indices = np.array(sorted({i for wrong in wrong_by_seed.values() for i in wrong}), dtype=np.int64)
    pictures = (
        np.stack([np.full((5, 4, 1), i, np.uint8) for i in indices])
        if len(indices)
        else np.zeros((0, 5, 4, 1), np.uint8)
    )
    records = make_records(arms={"none": 0}, seeds=1, epochs=1)
    return replace(records, predictions=predictions, mistakes=Mistakes(indices=indices, images=pictures))


def test_most_confident_first_lowest_seed_first_each_image_once():
    chosen = select(records_with({3: {5: 0.6, 7: 0.9, 9: 0.7}, 1: {7: 0.5, 2: 0.8}}), "none").chosen
    assert [(m.index, m.seed) for m in chosen] == [(2, 1), (7, 1), (9, 3), (5, 3)]
    assert [m.confidence for m in chosen] == pytest.approx([0.8, 0.5, 0.7, 0.6])
    assert (chosen[0].actual, chosen[0].predicted) == (2, 3)
    assert chosen[0].image[0, 0, 0] == 2


def test_twenty_five_and_no_more():
    many = {seed: {i: 0.5 + i / 100 for i in range(20)} for seed in (0,)} | {
        1: dict.fromkeys(range(10, 40), 0.5)
    }
    selection = select(records_with(many), "none")
    assert len(selection.chosen) == 25
    assert title(selection) == "25 of 40 misclassified test images (wrong in any of 2 runs)"
    assert caption(selection) == (
        "Most confident mistakes first, of seed 0 (20 images), then seed 1 (5 images); each image once."
    )


def test_fewer_only_if_there_are_no_more():
    assert title(select(records_with({0: {3: 0.4, 8: 0.9}}), "none")) == "all 2 misclassified test images"
    assert title(select(records_with({0: {3: 0.4}}), "none")) == "the only misclassified test image"
    assert title(select(records_with({0: {}}), "none")) == "0 misclassified test images"


def test_without_images_or_runs_there_is_still_a_figure():
    records = records_with({0: {3: 0.4}})
    assert title(select(replace(records, mistakes=None), "none")) == "0 of 1 misclassified test images"
    nothing = select(replace(records, predictions={}), "none")
    assert title(nothing) == "no finished run"
    assert [text.get_text() for text in galleries.draw(nothing, PictureNames(records)).texts][
        1
    ] == "no finished run"


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_say_actual_predicted_and_confidence(channels):
    records = make_records(channels=channels, seeds=1, epochs=1, wrong=7)
    selection = select(records, "l1")
    axes = galleries.draw(selection, PictureNames(records)).axes[0]
    texts = [text.get_text() for text in axes.texts]
    first = selection.chosen[0]
    assert len(axes.images) == 7
    assert texts[:3] == [
        f"actual: {records.class_names[first.actual]}",
        f"predicted: {records.class_names[first.predicted]}",
        percent(first.confidence),
    ]
    assert np.array_equal(axes.images[0].get_array(), np.broadcast_to(first.image, (28, 28, 3)))


def test_images_keep_their_proportions():
    records = records_with({0: {3: 0.4}})
    image = galleries.draw(select(records, "none"), PictureNames(records)).axes[0].images[0]
    left, right, bottom, top = image.get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(4 / 5)


def test_confidence_is_never_rounded_up_to_certainty():
    assert [percent(c) for c in (0.973, 0.9996, 1.0, 0.05)] == ["97.3 %", "> 99.9 %", "100.0 %", "5.0 %"]


def test_long_names_keep_both_ends():
    assert one_line("a very long class name, first", 13) == "a very…first"
    assert one_line("two\nlines\x07", 20) == "two lines[U+0007]"
    assert len(one_line("x" * 500, 21)) == 21
