"""A headless Chromium for tests of pages."""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver")
if not (shutil.which("chromium") and shutil.which("chromedriver")):
    pytest.skip("no Chromium with its driver", allow_module_level=True)


def open_chromium(
    width: int = 1200,
    *,
    dark: bool = False,
    scripts: bool = True,
    downloads: Path | None = None,
) -> Any:
    """Return the driver of a new browser, which whoever opened it has to quit."""
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium")
    if downloads:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
    return driver


def violations(driver: Any) -> list[tuple[str, str]]:
    """Return what axe-core finds wrong in the page that is shown: rule and element."""
    axe = importlib.util.find_spec("axe_core_python")
    if axe is None or axe.origin is None:
        pytest.skip("no axe-core")
    driver.execute_script(Path(axe.origin).with_name("axe.min.js").read_text())
    result = driver.execute_async_script("axe.run().then(arguments[0])")
    assert len(result["passes"]) > 10
    return [(each["id"], each["nodes"][0]["html"]) for each in result["violations"]]
