"""The page as a person opens it: in headless Chromium, from ``file://``."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from regulab.files import file_name
from regulab.reporting import write_report
from tests.reporting.factory import make_records, with_diverged, with_stopped


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    arms = {"none": 0.0, "l1": -0.3, "<i>&'\"": 0.05, "שלום": 0.1}
    records = make_records(arms=arms, seeds=5, epochs=9, images=2000, base=98.5)
    records = with_diverged(with_stopped(records, "l1", 1, 5), "שלום", 2)
    directory = tmp_path_factory.mktemp("page")
    weights = directory / "weights" / file_name("l1")
    weights.mkdir(parents=True)
    save_file({"w": np.array([[0.0, 0.1], [-0.01, 2.0]], np.float32)}, weights / "seed-0.safetensors")
    write_report(records, directory)
    return SimpleNamespace(records=records, path=directory / "report.html")


@pytest.fixture(params=["light", "dark"])
def opened(chromium, report, request):
    page = chromium.new_page(color_scheme=request.param, viewport={"width": 1100, "height": 900})
    seen = SimpleNamespace(page=page, scheme=request.param, messages=[], requests=[])
    page.on("console", lambda message: seen.messages.append(message.text))
    page.on("pageerror", lambda error: seen.messages.append(str(error)))
    page.on("request", lambda asked: seen.requests.append(asked.url))
    page.goto(report.path.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=30_000)
    yield seen
    page.close()


def eventually(page, script):
    """Waits until the expression holds; Playwright's own way needs eval, which the page's policy forbids."""
    end = time.monotonic() + 10
    while not page.evaluate(script):
        assert time.monotonic() < end, script
        page.wait_for_timeout(20)


def lines(page, chart):
    """Colours of the mean lines that are drawn."""
    script = "all => all.filter(p => p.getAttribute('d')).map(p => p.getAttribute('stroke'))"
    return set(page.eval_on_selector_all(f"#chart-{chart} .mark-line path", script))


def test_nothing_is_asked_for_and_nothing_goes_wrong(opened, report):
    opened.page.mouse.move(400, 500)
    opened.page.check("#training")
    assert opened.messages == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [report.path.as_uri()]


def test_a_click_in_the_legend_hides_an_arm_and_another_shows_it(opened):
    page, all_arms = opened.page, {f"var(--arm-{number})" for number in range(4)}
    for chart in ("val_accuracy", "val_loss"):
        assert lines(page, chart) == all_arms
    page.locator("label bdi", has_text="l1 (strength of l1)").click()
    for chart in ("val_accuracy", "val_loss"):
        eventually(page, f"!document.querySelector('#chart-{chart} [stroke=\"var(--arm-1)\"]')")
        assert lines(page, chart) == all_arms - {"var(--arm-1)"}
    page.focus("input[name=arm][value='1']")
    page.keyboard.press("Space")
    page.wait_for_selector('#chart-val_loss [stroke="var(--arm-1)"]', state="attached")
    assert lines(page, "val_accuracy") == all_arms


def test_training_curves_come_on_demand_and_epochs_can_be_left_out(opened):
    page = opened.page
    thin = "#chart-val_accuracy path[stroke-width='1.2'][d]:not([d=''])"
    assert page.locator(thin).count() == 0
    page.check("#training")
    eventually(page, f'document.querySelectorAll("{thin}").length === 4')
    page.fill("#from", "6")
    eventually(page, "document.getElementById('from-shown').value === '6'")
    eventually(
        page,
        "![...document.querySelectorAll('#chart-val_accuracy .role-axis-label text')]"
        ".some(text => text.textContent === '2')",
    )


def test_hovering_names_arm_epoch_and_numbers(opened):
    box = opened.page.locator("#chart-val_accuracy svg").bounding_box()
    opened.page.evaluate(f"scrollTo(0, {box['y'] - 200})")
    opened.page.mouse.move(box["x"] + box["width"] / 2, 200 + box["height"] / 2)
    opened.page.mouse.move(box["x"] + box["width"] / 2 + 4, 204 + box["height"] / 2)
    opened.page.wait_for_selector("#tip:not([hidden])")
    text = opened.page.locator("#tip").inner_text()
    assert "strength of" in text
    assert "epoch " in text
    assert "(band " in text
    assert "undefined" not in text


def test_galleries_are_complete(opened, report):
    page, records = opened.page, report.records
    counts = page.eval_on_selector_all(
        ".tiles", "all => all.map(one => [+one.dataset.count, one.children.length])"
    )
    assert all(told == there for told, there in counts)
    headings = page.locator("#misclassified ~ details > summary").all_inner_texts()
    assert len(headings) == 3 * len(records.arms)
    assert sum(text.startswith("The most confident mistakes (25)") for text in headings) == len(records.arms)
    size = page.evaluate("""() => new Promise((resolve) => {
        const image = new Image();
        image.onload = () => resolve([image.naturalWidth, image.naturalHeight]);
        image.src = getComputedStyle(document.querySelector(".tiles .image")).backgroundImage.slice(5, -2);
    })""")
    assert size[0] == 20 * 28
    assert size[1] % 28 == 0


def test_colours_follow_the_scheme(opened):
    paper, line = opened.page.evaluate(
        "[getComputedStyle(document.body).backgroundColor,"
        " getComputedStyle(document.querySelector('#chart-val_loss .mark-line path')).stroke]"
    )
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[opened.scheme]
    assert line == {"light": "rgb(43, 43, 43)", "dark": "rgb(230, 237, 243)"}[opened.scheme]


def test_nothing_is_wider_than_a_telephone(opened):
    opened.page.set_viewport_size({"width": 390, "height": 800})
    opened.page.wait_for_timeout(200)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_texts_below_wide_tables_are_seen_on_a_narrow_screen(chromium, report):
    page = chromium.new_page(viewport={"width": 390, "height": 800})
    page.goto(report.path.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=30_000)
    rights = page.eval_on_selector_all(
        "caption > span", "all => all.filter(e => e.offsetParent).map(e => e.getBoundingClientRect().right)"
    )
    wide = page.eval_on_selector_all(".wide", "all => all.filter(e => e.scrollWidth > e.clientWidth).length")
    assert rights
    assert wide, "no table is wider than the screen"
    assert max(rights) <= 390
    frame, legend, first = (
        page.eval_on_selector(f"fieldset.legend {part}".strip(), "e => e.getBoundingClientRect().toJSON()")
        for part in ("", "legend", "label")
    )
    assert frame["top"] < legend["top"] < legend["bottom"] <= first["top"]
    page.close()


def test_texts_below_tables_wider_than_the_column_stay_within_it(chromium, report):
    """The column ends at 66 rem, whatever the window is wide."""
    page = chromium.new_page(viewport={"width": 1600, "height": 800})
    page.goto(report.path.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=30_000)
    beyond = page.eval_on_selector_all(
        ".wide:has(caption > span)",
        "all => all.filter(e => e.offsetParent).map(e => { e.querySelector('table').style.width = '2000px';"
        " return e.querySelector('caption > span').getBoundingClientRect().right"
        " - e.getBoundingClientRect().right; })",
    )
    assert beyond
    assert max(beyond) <= 1
    page.close()
