"""The page of a reader study in a real browser: by keyboard alone, reloaded, resumed, scored."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chromium import open_chromium, violations, webdriver
from meddiff.cli import main
from meddiff.core.tables import read_csv

pytestmark = pytest.mark.slow
wait = pytest.importorskip("selenium.webdriver.support.wait")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    driver = open_chromium(downloads=tmp_path / "downloads")
    yield driver
    driver.quit()


def make(folder: Path, *arguments: str) -> Path:
    chance = np.random.default_rng(0)
    for name, level in (("train", 90), ("synthetic", 150)):
        path = folder / "run/data/images" / name / "one.npy"
        path.parent.mkdir(parents=True)
        # Synthetic images are the brighter ones, as the reader below knows.
        np.save(path, chance.integers(level - 20, level + 20, (30, 32, 32, 3), dtype=np.uint8))
    arguments = ("readers", "make", str(folder / "run"), *arguments)
    assert main([*arguments, "--trials", "12", "--repeats", "0.5"]) == 0
    return folder / "run/reader_study"


def keys(browser: Any, *pressed: str) -> None:
    for key in pressed:
        webdriver.ActionChains(browser).send_keys(key).perform()


def begin(browser: Any) -> None:
    """Type a code where the page has put the cursor."""
    wait.WebDriverWait(browser, 20).until(
        lambda _: browser.switch_to.active_element.get_attribute("id") == "reader"
    )
    # The code of no reader: it stands for all of them in the scores.
    keys(browser, "all", "\ue007")
    assert seen(browser) == "welcome"
    keys(browser, "\ue003" * 3, "r1")
    assert browser.switch_to.active_element.get_property("value") == "r1"
    keys(browser, "\ue007")


def text(browser: Any, name: str) -> str:
    return browser.find_element("id", name).text


def seen(browser: Any) -> str:
    sections = browser.find_elements("css selector", "main > section")
    (one,) = [each.get_attribute("id") for each in sections if each.is_displayed()]
    return one


@pytest.mark.parametrize("design", ["single", "pairs", "choice"])
def test_a_reader_with_a_keyboard_stops_and_goes_on(
    browser: Any, design: str, tmp_path: Path
) -> None:
    folder = make(tmp_path, "--design", design, "--choices", "3", "--language", "es")
    key = read_csv(folder / "key.csv")
    trials = key.drop_duplicates("trial")
    right = [
        str(target * 5 + 1 if design == "single" else target + 1) for target in trials["target"]
    ]
    browser.get(f"file://{folder}/study.html")
    assert browser.title == "¿Real o sintética?"
    assert violations(browser) == []
    begin(browser)
    assert seen(browser) == "trial" and violations(browser) == []
    keys(browser, *right[:4])
    assert text(browser, "count").startswith("Pregunta 5 ")
    # A wrong key, taken back; a pause; a number that no answer has.
    keys(browser, "1" if right[4] != "1" else "2", "\ue003", "p")
    assert seen(browser) == "break"
    keys(browser, "p")
    assert seen(browser) == "trial"
    keys(browser, "p", "\ue007", "9")
    assert text(browser, "count").startswith("Pregunta 5 ")
    browser.refresh()
    begin(browser)
    assert text(browser, "count").startswith("Pregunta 5 ")
    # The last answer is taken back, too: by a key, and by the button beside "save".
    keys(browser, *right[4:-1], "1" if right[-1] != "1" else "2")
    assert seen(browser) == "end"
    keys(browser, "\ue003")
    assert text(browser, "count").startswith(f"Pregunta {len(right)} ")
    keys(browser, "1" if right[-1] != "1" else "2", "\ue004", "\ue007")
    assert text(browser, "count").startswith(f"Pregunta {len(right)} ")
    keys(browser, right[-1])
    assert seen(browser) == "end" and violations(browser) == []
    keys(browser, "\ue007")
    saved = tmp_path / "downloads"
    wait.WebDriverWait(browser, 20).until(lambda _: [*saved.glob("*.json")])
    (file,) = saved.glob("*.json")
    answers = json.loads(file.read_text())["answers"]
    assert all(0 < each["seconds"] < 60 for each in answers)
    assert not browser.get_log("browser")
    assert main(["readers", "score", str(file), "--key", str(folder / "key.csv")]) == 0
    table = read_csv(folder / "reader_study.csv").set_index(["reader", "metric"])["value"]
    assert table["r1", "accuracy"] == 1
    assert table["r1", "intra_reader_kappa"] == 1
