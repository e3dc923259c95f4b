"""A converter of charts that fails, in whatever way, leaves a page with still pictures that says so."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from regulab.reporting import interactive
from tests.cases.pages import pages_of
from tests.reporting.factory import make_records


class PanicException(BaseException):
    """As pyo3 raises it: none of Python's own exceptions."""


def failing(error):
    def javascript_bundle(_):
        raise error

    return SimpleNamespace(javascript_bundle=javascript_bundle)


@pytest.fixture(scope="module")
def pages():
    return pages_of(make_records(arms={"none": 0, "l1": 0}, seeds=2, epochs=3, images=100))


@pytest.fixture
def _forget():
    interactive.bundle.cache_clear()
    yield
    interactive.bundle.cache_clear()


@pytest.mark.usefixtures("_forget")
@pytest.mark.parametrize(
    "error",
    [
        PanicException("called `Result::unwrap()` on an `Err` value: Os { code: 24, kind: Uncategorized }"),
        MemoryError(),
        OSError(24, "Too many open files"),
        RuntimeError("<script>alert(1)</script>\x1b[31m"),
    ],
)
def test_the_page_has_its_still_pictures(monkeypatch, pages, error):
    monkeypatch.setitem(sys.modules, "vl_convert", failing(error))
    text = pages.html().decode()
    assert f"could not be made on the machine that wrote this page ({type(error).__name__}" in text
    assert text.count('<img src="data:image/svg+xml') == 4
    assert "<noscript>" not in text
    assert "<script" not in text
    assert "script-src 'none'" in text
    assert "\x1b" not in text


@pytest.mark.usefixtures("_forget")
def test_no_converter_at_all_and_one_that_works_again(monkeypatch, pages):
    with monkeypatch.context() as changed:
        changed.setitem(sys.modules, "vl_convert", None)
        assert "still pictures stand in their place" in pages.html().decode()
    assert "still pictures stand in their place" not in pages.html().decode()


@pytest.mark.usefixtures("_forget")
def test_an_interruption_is_no_failure_of_the_converter(monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        interactive.bundle()
