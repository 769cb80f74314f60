"""What a report costs: 1,000 scans, with an evaluation, in seconds and bytes.

SPINETALLY_BENCH_SCANS=1000 python -m pytest -m bench -s tests/bench/bench_report.py
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.support.ui import WebDriverWait

from pipeline.evaluate.evaluation import evaluate_store
from pipeline.report.report import write_report
from schemas.config import CohortConfig
from schemas.evaluation import Evaluation
from tests.pipeline.evaluate.little import Box, LittleScan, make_store, truths
from tests.take_pictures import open_browser

N_SCANS = int(os.environ.get("SPINETALLY_BENCH_SCANS", "1000").split(",")[0])
BOXES: tuple[Box, ...] = ((9, 8, 8, 12, 14, 14), (3, 20, 20, 6, 26, 26), (9, 24, 24, 11, 30, 30))


def _scans() -> list[LittleScan]:
    generator = np.random.default_rng(4)
    made = []
    for i in range(N_SCANS):
        truth = tuple(box for box in BOXES if generator.random() < 0.4)
        found = tuple((box, float(generator.uniform(0.3, 1))) for box in BOXES if generator.random() < 0.5)
        split = "external" if (i // 2) % 3 == 0 else "internal"
        made.append(
            LittleScan(f"{i:032x}", f"p{i // 2}", truth, found, split=split, site=f"site {i % 6}", study=f"s{i}")
        )
    return made


BARE = "<!doctype html><title>bare</title><p>one line</p>"
"""A page that shows what the browser itself takes."""
TURNS = 7
TIMES = """
const [paint] = performance.getEntriesByName("first-contentful-paint");
const [page] = performance.getEntriesByType("navigation");
return paint && page.loadEventEnd ? [paint.startTime, page.domInteractive, page.loadEventEnd] : null"""


def paints(page: Path, bare: Path) -> str:
    """Seconds until the browser shows something of the page, has read it, and has loaded it; beside a bare page's."""
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        return "first paint not measured: no chromium with its driver"
    bare.write_text(BARE)
    found: dict[Path, list[list[float]]] = {bare: [], page: []}
    with open_browser(1200, 900) as browser:
        for _ in range(TURNS):
            for each, times in found.items():
                browser.get(each.as_uri())
                times.append(WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(TIMES)))
    (paint, read, loaded), (bare_paint, *_) = ((np.array(found[each]) / 1000).T for each in (page, bare))
    return (
        f"first paint {np.median(paint):.2f} s ({paint.min():.2f} to {paint.max():.2f}, the first {paint[0]:.2f}), "
        f"of a bare page {np.median(bare_paint):.2f} s ({bare_paint.min():.2f} to {bare_paint.max():.2f}), "
        f"read in {np.median(read):.2f} s, loaded in {np.median(loaded):.2f} s"
    )


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_report(tmp_path: Path) -> None:
    scans = _scans()
    store = make_store(tmp_path, scans)
    config = CohortConfig(source="x", store="x")
    start = time.perf_counter()
    evaluate_store(store, config, truths=truths(tmp_path, scans), settings=Evaluation(bootstraps=500))
    compared = time.perf_counter()
    before = time.process_time()
    written = write_report(store, config, tmp_path / "report.html")
    done = time.perf_counter()
    paint = paints(tmp_path / "report.html", tmp_path / "bare.html")
    print(
        f"\n{N_SCANS} scans: annotations read and compared {compared - start:.1f} s; report {done - compared:.1f} s "
        f"({time.process_time() - before:.1f} s of processor), {written['bytes'] / 1e6:.2f} MB, "
        f"{written['pictures']} pictures, {paint}, load {os.getloadavg()[0]:.1f}"
    )
