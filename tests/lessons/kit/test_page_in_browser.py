"""The committed page of lessons as a person opens it: in headless Chromium, from ``file://``."""

from __future__ import annotations

from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "lessons" / "index.html"


@pytest.fixture(params=["light", "dark"])
def opened(chromium, request):
    page = chromium.new_page(color_scheme=request.param, viewport={"width": 1100, "height": 900})
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    requests: list[str] = []
    page.on("request", lambda asked: requests.append(asked.url))
    page.goto(PAGE.as_uri(), wait_until="load")
    yield page, request.param, messages, requests
    page.close()


def test_nothing_comes_from_elsewhere_and_every_picture_is_there_on_its_ground(opened):
    page, scheme, messages, requests = opened
    assert messages == []
    folder = PAGE.parent.as_uri()
    assert all(url.startswith((folder, "data:")) for url in requests)
    shown = page.eval_on_selector_all(
        "picture img", "all => all.map(i => [i.currentSrc, i.naturalWidth, i.alt])"
    )
    assert len(shown) >= 38, "two pictures a lesson"
    for source, width, alternative in shown:
        assert source.endswith(f"-{scheme}.png")
        assert width >= 1200
        assert len(alternative) > 40


def test_equations_are_set_and_links_lead_somewhere(opened):
    page, *_ = opened
    sizes = page.eval_on_selector_all("math", "all => all.map(m => m.getBoundingClientRect().height)")
    assert len(sizes) > 100
    assert min(sizes) > 5
    for target in page.eval_on_selector_all("nav a", "all => all.map(a => a.getAttribute('href'))"):
        assert page.query_selector(target) is not None, target


def test_a_narrow_screen_does_not_scroll_sideways(opened):
    page, *_ = opened
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
