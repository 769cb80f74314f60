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


PAINTED = "return performance.getEntriesByType('paint').map((entry) => [entry.name, entry.startTime])"


def first_paint(page: Path) -> str:
    """Seconds until the browser shows something of the page."""
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        return "not measured: no chromium with its driver"
    with open_browser(1200, 900) as browser:
        browser.get(page.as_uri())
        found = WebDriverWait(browser, 60).until(lambda each: each.execute_script(PAINTED))
    return ", ".join(f"{name} {milliseconds / 1000:.2f} s" for name, milliseconds in found)


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
    paint = first_paint(tmp_path / "report.html")
    print(
        f"\n{N_SCANS} scans: annotations read and compared {compared - start:.1f} s; report {done - compared:.1f} s "
        f"({time.process_time() - before:.1f} s of processor), {written['bytes'] / 1e6:.2f} MB, "
        f"{written['pictures']} pictures, first paint {paint}, load {os.getloadavg()[0]:.1f}"
    )
