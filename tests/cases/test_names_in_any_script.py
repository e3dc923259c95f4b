"""Names in any script are readable in every picture: drawn where a font has the glyphs, else as explained numbers."""

from __future__ import annotations

import warnings

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from regulab.reporting import fonts
from regulab.reporting.curve_figure import draw
from regulab.reporting.data import ReportData
from regulab.reporting.figures import galleries, val_accuracy
from regulab.reporting.naming import PictureNames
from regulab.reporting.rendering import render
from tests.cases.pages import pages_of
from tests.reporting.factory import make_records

HAN, FAMILY = "猫", "A Font Of One Cat"
NAMES = ("قطة", "кот", "γάτα", HAN, "😀", "👨‍👩‍👧", "แมว", "e\u0301", "cat")


@pytest.fixture
def _only_default(monkeypatch):
    """As on a machine with nothing but what comes with matplotlib."""
    own = [font for font in font_manager.fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    _forget()
    yield
    _forget()


def _forget():
    for one in (fonts._covering, fonts._characters_of, fonts._default):
        one.cache_clear()


@pytest.fixture
def font_with_a_cat(tmp_path, _only_default):
    """Builds and installs a font with one glyph, a square."""
    pen = TTGlyphPen(None)
    for move, at in (
        (pen.moveTo, (0, 0)),
        (pen.lineTo, (0, 800)),
        (pen.lineTo, (800, 800)),
        (pen.lineTo, (800, 0)),
    ):
        move(at)
    pen.closePath()
    square, empty = pen.glyph(), TTGlyphPen(None).glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord(HAN): "cat"})
    builder.setupGlyf({".notdef": empty, "cat": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "cat": (1000, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable(
        {"familyName": FAMILY, "styleName": "Regular", "fullName": FAMILY, "psName": "OneCat"}
    )
    builder.setupOS2(sTypoAscender=800, usWeightClass=400)
    builder.setupPost()
    path = tmp_path / "cat.ttf"
    builder.save(path)
    font_manager.fontManager.addfont(path)
    return path


def records_with(names):
    return make_records(
        arms={"none": 0, f"l2 {HAN}": 0}, seeds=1, epochs=2, images=90, base=85, classes=names
    )


def drawn(records):
    """Every picture of a report; a glyph that no font has would be a warning, and here an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = ReportData(records)
        pictures = [render(draw(data, val_accuracy.CURVE), "png")]
        figure = galleries.draw(data.selections["none"], data.picture_names)
        pictures.append(render(figure, "svg"))
    return figure, pictures


@pytest.mark.usefixtures("_only_default")
def test_without_a_font_a_name_is_a_number_and_the_page_explains_it():
    records = records_with(NAMES)
    names = PictureNames(records)
    assert names.of_class(3) == "class 3"
    assert names.of_class(1) == "кот"
    assert names.of_class(8) == "cat"
    assert names.of_arm(f"l2 {HAN}") == "arm 2"
    assert names.of_legend(f"l2 {HAN}") in ("arm 2", f"arm 2 (strength of l2 {HAN})")
    figure, _ = drawn(records)
    texts = " ".join(text.get_text() for text in figure.findobj() if hasattr(text, "get_text"))
    assert HAN not in texts
    assert "แมว" not in texts
    for text in (pages_of(records).markdown().decode(), pages_of(records).html().decode()):
        assert "No font on this machine has the glyphs of some names" in text
        assert f"arm 2 is “l2 {HAN}”" in text
    assert f"class 3 is “{HAN}”" in pages_of(records).markdown().decode()  # the other page has names as text


def test_with_a_font_the_name_is_drawn(font_with_a_cat):
    records = records_with((HAN, "dog", "кот"))
    assert fonts.families(f"a {HAN}") == (fonts.DEFAULT, FAMILY)
    names = PictureNames(records)
    assert names.of_class(0) == HAN
    assert names.of_all == ""
    figure, _ = drawn(records)
    with_cat = [text for text in figure.findobj() if hasattr(text, "get_text") and HAN in text.get_text()]
    assert with_cat
    assert all(FAMILY in text.get_fontfamily() for text in with_cat)
    assert "No font" not in pages_of(records).markdown().decode()


@pytest.mark.usefixtures("_only_default")
def test_a_font_of_placeholders_is_no_font(monkeypatch):
    names = {font.name for font in font_manager.fontManager.ttflist}
    assert any(name.startswith("Last Resort") for name in names), (
        "matplotlib's own, with a box for everything"
    )
    assert not fonts.drawable(HAN)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # fontTools leaves it open
def test_a_font_file_that_is_broken_draws_nothing(tmp_path):
    path = tmp_path / "broken.ttf"
    path.write_bytes(b"\0\1\0\0no font at all")
    assert fonts._characters(str(path)) == frozenset()


def test_where_letters_are_not_joined_such_scripts_stand_as_numbers(monkeypatch):
    monkeypatch.setattr(fonts, "_SHAPES", False)
    assert not fonts.drawable("قطة")
    assert not fonts.drawable("שלום")
    assert not fonts.drawable("e\u0301")
    assert fonts.drawable("кот")


def test_a_dataset_of_any_name_has_a_title():
    records = records_with(("a", "b"))
    records.study["data"]["name"] = f"folder:{HAN}"
    drawn(records)
    monkey = PictureNames(records).text("folder:\U000f0000")
    assert monkey == "folder:[U+F0000]"
