"""Pages in Chromium: narrow, wide, dark, on paper, without JavaScript, by keyboard, by axe."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import meddiff
from chromium import open_chromium, violations
from meddiff.assessment.report import write_report
from meddiff.data.image_sets import ImageSet
from meddiff.reporting.figures.numbers import Numbered
from meddiff.reporting.page.gallery import gallery_page
from meddiff.reporting.page.run import run_page
from page import STAMP, contents

pytestmark = pytest.mark.slow


def run(path: Path) -> None:
    path.write_text(run_page(contents(path.parent, ["benign", "malignant"])))


def evaluation(path: Path) -> None:
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (2, 60, 48, 48, 3), dtype=np.uint8)
    real, synthetic = (ImageSet(each, labels=("a",) * 30 + ("b",) * 30) for each in pixels)
    result = meddiff.evaluate(real, synthetic, n_resamples=20)
    write_report(path, result, real, synthetic, {"command": "meddiff evaluate real synthetic"})


def gallery(path: Path) -> None:
    Image.new("RGB", (90, 60), "tan").save(path.with_name("a.png"))
    drawing = path.with_name("b.svg")
    drawing.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="6"><path d="M0 0h9"/></svg>'
    )
    figures = [
        Numbered(numbers, title, str(path.with_name(name)))
        for numbers, title, name in (("5.7", "Real lesions", "a.png"), ("4.1", "A net", "b.svg"))
    ]
    path.write_text(gallery_page(figures, STAMP))


PAGES = {"run": run, "evaluation": evaluation, "gallery": gallery}


@pytest.fixture(scope="module")
def addresses(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("page")
    for name, write in PAGES.items():
        write(folder / f"{name}.html")
    return {name: (folder / f"{name}.html").as_uri() for name in PAGES}


@pytest.fixture
def opened(addresses: dict[str, str]) -> Iterator[Callable[..., Any]]:
    drivers = []

    def open_page(width: int, page: str = "run", **others: bool) -> Any:
        drivers.append(open_chromium(width, **others))
        drivers[-1].get(addresses[page])
        return drivers[-1]

    yield open_page
    for driver in drivers:
        driver.quit()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", [400, 1600])
def test_it_fits_the_screen(opened, page, width) -> None:
    driver = opened(width, page)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "seen"), [(400, "narrow"), (1600, "wide")])
def test_charts_are_drawn_for_the_screen(opened, width, seen) -> None:
    driver = opened(width)
    for name in ("narrow", "wide"):
        charts = driver.find_elements("css selector", f".chart .{name}")
        assert charts and {each.is_displayed() for each in charts} == {name == seen}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(opened, page, dark) -> None:
    assert violations(opened(1200, page, dark=dark)) == []


def test_dark_is_dark(opened) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    light, dark = (opened(800, dark=dark).execute_script(ground) for dark in (False, True))
    assert light == "rgb(255, 255, 255)" and dark == "rgb(20, 23, 26)"


def test_a_keyboard_goes_through_the_training_and_to_the_row_of_a_number(opened) -> None:
    driver = opened(1200)
    slider = driver.find_element("css selector", ".slider input")
    image = driver.find_element("css selector", ".slider img")
    last, size = image.get_attribute("style"), image.size
    assert size["width"] / size["height"] == pytest.approx(66 * 3 / 30, rel=0.01)
    slider.send_keys("\ue012")  # left
    assert image.get_attribute("style") != last and "2 of 3" in image.get_attribute("alt")
    link = driver.find_element("css selector", ".answer a")
    row = driver.find_element("id", link.get_attribute("href").split("#")[1])
    assert not row.is_displayed()
    link.send_keys("\ue007")  # enter
    assert row.is_displayed() and "0.6741" in row.text


def test_without_javascript_and_on_paper_everything_can_be_read(opened) -> None:
    driver = opened(1200, scripts=False)
    assert not driver.find_element("css selector", ".slider").is_displayed()
    assert len(driver.find_elements("css selector", ".sheet img")) == 3
    pdf = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert base64.b64decode(pdf).startswith(b"%PDF") and len(pdf) > 20_000
