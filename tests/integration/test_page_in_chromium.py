"""The page of a run in Chromium: narrow, wide, dark, on paper, without JavaScript, by keyboard."""

import base64
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meddiff.reporting.page.run import run_page
from page import contents

pytestmark = pytest.mark.slow
webdriver = pytest.importorskip("selenium.webdriver")
if not (shutil.which("chromium") and shutil.which("chromedriver")):
    pytest.skip("no Chromium with its driver", allow_module_level=True)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("page")
    path = folder / "report.html"
    path.write_text(run_page(contents(folder, ["benign", "malignant"])))
    return path.as_uri()


@pytest.fixture
def opened(address: str) -> Iterator[Callable[..., Any]]:
    drivers = []

    def open_page(width: int, *, dark: bool = False, scripts: bool = True) -> Any:
        options = webdriver.ChromeOptions()
        for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
            options.add_argument(flag)
        options.binary_location = shutil.which("chromium")
        service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
        driver = webdriver.Chrome(options=options, service=service)
        drivers.append(driver)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        driver.get(address)
        return driver

    yield open_page
    for driver in drivers:
        driver.quit()


@pytest.mark.parametrize(("width", "seen"), [(400, "narrow"), (1600, "wide")])
def test_it_fits_the_screen_and_its_charts_are_drawn_for_it(opened, width, seen) -> None:
    driver = opened(width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    for name in ("narrow", "wide"):
        charts = driver.find_elements("css selector", f".chart .{name}")
        assert charts and {each.is_displayed() for each in charts} == {name == seen}


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(opened, dark) -> None:
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("no axe-core")
    driver = opened(1200, dark=dark)
    driver.execute_script(Path(found.origin).with_name("axe.min.js").read_text())
    result = driver.execute_async_script("axe.run().then(arguments[0])")
    assert len(result["passes"]) > 20
    assert [(each["id"], each["nodes"][0]["html"]) for each in result["violations"]] == []


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
