"""Pictures of the demo's report and viewer, as the README shows them: `make pictures`.

    python -m tests.take_pictures demo infra/pictures

Needs Debian's chromium and chromium-driver, and a finished demo.
"""

from __future__ import annotations

import io
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from pipeline.query import run_query
from pipeline.store import Store
from pipeline.view.scan import viewed_scan
from pipeline.view.server import serve

ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
)  # fmt: skip
MANY = """
SELECT series_key FROM lesions WHERE is_primary GROUP BY series_key
ORDER BY count(*) DESC, sum(volume_mm3) DESC LIMIT 1"""
"""The scan with the most lesions."""


def take(demo: Path, folder: Path) -> list[Path]:
    """Take all pictures of a demo's folder; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_browser(1160, 760) as browser:
        browser.get((demo / "report.html").absolute().as_uri())
        browser.execute_script("for (const image of document.images) image.loading = 'eager'")
        taken = [
            _shot(browser, "header", 760, folder / "report.png"),
            _shot(browser, "#tallies", 700, folder / "tallies.png"),
            _shot(browser, "#evaluation", 960, folder / "evaluation.png"),
        ]
        browser.execute_script("document.documentElement.dataset.theme = 'dark'")
        taken.append(_shot(browser, "#gallery", 620, folder / "gallery.png"))
        taken.append(_view(browser, str(demo / "store"), folder / "view.png"))
    return taken


@contextmanager
def open_browser(width: int, height: int) -> Iterator[webdriver.Chrome]:
    """Chromium without a screen."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (*ARGUMENTS, f"--window-size={width},{height}"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


def _shot(browser: webdriver.Chrome, place: str, height: int, path: Path) -> Path:
    """The page from an element downwards."""
    browser.execute_script(
        "document.getElementById('theme').style.display = 'none';"
        "document.querySelector(arguments[0]).scrollIntoView()", place
    )  # fmt: skip
    time.sleep(0.5)  # pictures below the fold are decoded late
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png()))
    if picture.height < height:
        width = browser.get_window_size()["width"]
        browser.set_window_size(width, height + 150)
        return _shot(browser, place, height, path)
    return _save(picture.crop((0, 0, picture.width, height)), path)


def _view(browser: webdriver.Chrome, uri: str, path: Path) -> Path:
    (found,) = run_query(uri, MANY).to_pylist()
    browser.set_window_size(1160, 860)
    with serve(viewed_scan(Store.open(uri), found["series_key"])) as address:
        browser.get(address)
        WebDriverWait(browser, 120).until(lambda b: b.find_element(By.ID, "state").text == "")
        time.sleep(1)
        picture = Image.open(io.BytesIO(browser.get_screenshot_as_png()))
    return _save(picture, path)


def _save(picture: Image.Image, path: Path) -> Path:
    """Few colours, so that the file is small."""
    picture.convert("RGB").quantize(128).save(path, optimize=True)
    return path


if __name__ == "__main__":
    for made in take(Path(sys.argv[1]), Path(sys.argv[2])):
        print(f"{made} {made.stat().st_size / 1000:.0f} kB")
