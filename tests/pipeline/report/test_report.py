"""The report of a small real store: complete, alone, and readable by a browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.evaluate.evaluation import compare_store, evaluate_store
from pipeline.report.evaluated import evaluation_tables
from pipeline.report.figures.flow import flow
from pipeline.report.figures.performance import forest
from pipeline.report.report import write_report
from pipeline.store import Store
from schemas.config import CohortConfig, Truth
from schemas.evaluation import Evaluation
from tests.pipeline.evaluate.little import RECIPE, Box, LittleScan, make_store, truths

UPPER: Box = (9, 8, 8, 12, 14, 14)
LOWER: Box = (3, 20, 20, 6, 26, 26)
NASTY = "<script>alert(1)</script>"


def scans() -> list[LittleScan]:
    made = []
    for i in range(24):
        split = "internal" if i < 12 else "external"
        truth = (UPPER, LOWER) if i % 3 == 0 else (UPPER,) if i % 3 == 1 else ()
        found = [(UPPER, 0.95 - i / 50)] if i % 4 else []
        if i % 5 == 0:
            found.append((LOWER, 0.4 + i / 100))
        columns = {"manufacturer": NASTY if i == 3 else f"maker {i % 2}", "patient_age": 40.0 + i, "kvp": 120.0}
        made.append(
            LittleScan(f"{i:032x}", f"p{i:02}", truth, tuple(found), split=split, site=f"site {i % 3}", columns=columns)
        )
    return [*made, LittleScan("f" * 32, "px", truth=(UPPER,), status="failed", split="external", site="site 1")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("reported")
    made = make_store(folder, scans())
    config = CohortConfig(source="x", store="x")
    evaluate_store(made, config, truths=truths(folder, scans()), settings=Evaluation(bootstraps=100))
    return made


@pytest.fixture(scope="module")
def page(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    config = CohortConfig(source="x", store="x", truth=Truth(annotated_by="two radiologists", readers=2))
    written = write_report(store, config, path)
    assert written["bytes"] == path.stat().st_size
    assert written["pictures"] > 6
    return path


def test_every_section_is_there(page: Path) -> None:
    text = page.read_text()
    for section in ("flow", "acquisition", "tallies", "evaluation", "gallery", "cost", "models"):
        assert f'<section id="{section}">' in text
    assert 'class="drop"' in text
    assert "two radiologists" in text
    assert "Not stated in the cohort file: experience, blinded, annotated on" in text
    assert "Missed" in text
    assert "Falsely called" in text
    assert text.count("<svg ") >= 5
    assert "24 scans with a reference have a result. Without a result: 1 failed. Lesions are" in text
    assert "Lesions are candidates with a score of 0.5 and more." in text
    assert "A candidate hits a true lesion by iou&gt;=0.1, one to one in order of scores" in text
    assert "<td>kvp, kV</td>" in text
    assert "<td>patient age, years</td>" in text
    for words in ("sensitivity at 0.125 false positives per scan", "lower 95 % limit of agreement of volume, mm³"):
        assert f"<td>{words}</td>" in text
    alternatives = re.findall(r'<img [^>]*alt="([^"]*)"', text)
    assert {"axial, L1", "sagittal, L2"} <= set(alternatives)


def test_a_study_without_a_reference_is_told(tmp_path: Path) -> None:
    both = [LittleScan("a", "pa", truth=(UPPER,), found=((UPPER, 0.9),)), LittleScan("b", "pb", found=((UPPER, 0.9),))]
    store = make_store(tmp_path, both)
    config = CohortConfig(source="x", store="x")
    summary = evaluate_store(store, config, truths=truths(tmp_path, both[:1]), settings=Evaluation(bootstraps=100))
    assert [recipe["studies_without_reference"] for recipe in summary["recipes"].values()] == [1]
    write_report(store, config, tmp_path / "r.html")
    assert "Studies with a result but no reference, in no figure: 1." in (tmp_path / "r.html").read_text()


def test_strata_stand_in_their_order_whichever_part_has_them() -> None:
    figure = {"subgroup": "level", "unit": "lesion", "metric": "sensitivity", "rule": "r", "note": None, "low": None}
    figure |= {"high": None, "interval": None, "value": 0.5, "numerator": 1.0, "denominator": 2.0, "n_patients": 3}
    main = figure | {"subgroup": "all", "stratum": None, "split": "internal"}
    strata = [("internal", "L1"), ("internal", "T2"), ("external", "L3"), ("external", "C7")]
    rows = [figure | {"split": split, "stratum": stratum} for split, stratum in strata]
    table = next(t for t in evaluation_tables([main, *rows]) if t.title == "By subgroup")
    assert [row[1] for row in table.rows] == ["C7", "T2", "L1", "L3"]


def test_the_first_numbers_are_what_fell_from_internal_to_external(page: Path) -> None:
    text = page.read_text()
    first = text[text.index('class="drops"') : text.index('<section id="flow">')]
    assert "Lesion sensitivity" in first.split("</div>")[0]
    value, internal, external = (float(x.replace("\N{MINUS SIGN}", "-")) for x in re.findall(
        r'big">([^<]+)</span><span>([\d.]+) internal to ([\d.]+) external; 95 % interval', first)[0])  # fmt: skip
    assert value == pytest.approx(external - internal, abs=0.011)


def test_a_scan_is_shown_by_the_command_that_the_reader_types(store: Store, page: Path, tmp_path: Path) -> None:
    assert 'data-copy="spinetally view 0' in page.read_text()
    command = "spinetally view --cohort lung.yaml"
    write_report(store, CohortConfig(source="x", store="x"), tmp_path / "r.html", view_command=command)
    assert f'data-copy="{command} 0' in (tmp_path / "r.html").read_text()


def test_the_flow_says_what_was_left_out_and_where() -> None:
    steps = [
        {"step": "all", "what": "every series of the source", "patients": 6, "studies": 8, "series": 1200},
        {"step": "left out", "what": "selection rule thin", "patients": 1, "studies": 1, "series": 2},
        {"step": "left out", "what": "at ingest: gap", "patients": 1, "studies": 1, "series": 1},
        {"step": "left", "what": "volumes that were read", "patients": 6, "studies": 8, "series": 1197},
        {"step": "left", "what": "one series for each study", "patients": 6, "studies": 8, "series": 8},
    ]
    scans = [
        {"recipe_id": "r1", "what": "scans ok", "patients": 6, "studies": 8, "series": 7},
        {"recipe_id": "r1", "what": "scans failed: timeout", "patients": 1, "studies": 1, "series": 1},
        {"recipe_id": "r2", "what": "scans failed: error", "patients": 1, "studies": 1, "series": 8},
    ]
    drawn = flow(steps, scans)
    assert drawn is not None
    for words in (
        "6 patients, 8 studies, 1,200 series", "2 selection rule thin", "1 at ingest: gap",
        "1,189 other series of the same study and modality", "With a result, recipe r1", "1 scans failed: timeout",
    ):  # fmt: skip
        assert f">{words}</text>" in drawn
    assert "error" not in drawn
    assert flow([steps[0] | {"series": 0}], []) is None


def test_a_forest_needs_two_sites_and_keeps_parts_apart() -> None:
    site = {"unit": "lesion", "metric": "sensitivity", "kind": "site", "value": 0.7, "low": 0.5, "high": 0.9}
    site |= {"weight": None, "n_patients": 12, "split": "internal", "site": "north"}
    pooled = site | {"kind": "pooled", "site": None, "split": "external", "i2": 0.2, "tau2": 0.1}
    pooled |= {"prediction_low": None, "prediction_high": None}
    assert forest([site], unit="lesion", metric="sensitivity") is None
    drawn = forest([pooled, site, site | {"split": "external", "site": "south"}], unit="lesion", metric="sensitivity")
    assert drawn is not None
    labels = ["internal: north (n = 12)", "external: south (n = 12)", "external: pooled"]
    assert sorted(labels, key=drawn.index) == labels


def test_a_figure_without_interval_gives_way_to_the_same_with_one() -> None:
    figure = {"subgroup": "all", "stratum": None, "unit": "lesion", "metric": "sensitivity", "rule": "r", "note": None}
    figure |= {"split": "internal", "value": 0.5, "numerator": 1.0, "denominator": 2.0, "n_patients": 3}
    without = figure | {"low": None, "high": None, "interval": None}
    wilson = figure | {"low": 0.1, "high": 0.9, "interval": "wilson"}
    other = without | {"metric": "f1"}
    (table,) = evaluation_tables([without, wilson, other, other])
    assert [row[:4] for row in table.rows] == [
        ("lesion", "sensitivity", "Wilson", ("0.500 (0.100 to 0.900), 1 of 2", 0.5)),
        ("lesion", "F1", "", ("0.500", 0.5)),
    ]


def test_parts_stand_side_by_side() -> None:
    """A part whose figure has no interval stands in the row of the other's, with the reason."""
    figure = {"subgroup": "all", "stratum": None, "unit": "patient", "metric": "auroc", "rule": None, "n_patients": 30}
    inner = figure | {"split": "internal", "value": 1.0, "low": None, "high": None, "interval": None}
    inner |= {"note": "no interval: separated", "numerator": None, "denominator": 30.0}
    outer = figure | {"split": "external", "value": 0.8, "low": 0.6, "high": 0.95, "interval": "delong_logit"}
    outer |= {"note": None, "numerator": None, "denominator": 40.0, "n_patients": 40}
    nothing = inner | {"metric": "npv", "value": None, "note": "not estimable: none", "denominator": 0.0}
    (table,) = evaluation_tables([inner, outer, nothing])
    assert table.columns == ("unit", "metric", "interval", "internal, 30 patients", "external, 40 patients", "remark")
    assert [tuple(getattr(cell, "text", cell) for cell in row) for row in table.rows] == [
        (
            *("patient", "AUROC", "DeLong, logit", "1.000, n = 30", "0.800 (0.600 to 0.950), n = 40"),
            "internal: no interval: separated",
        ),
        ("patient", "NPV", "", "not estimable: none", None, ""),
    ]


def test_nothing_is_asked_of_another_address(page: Path) -> None:
    text = page.read_text()
    outside = re.findall(r"""(?:src|href)=["'](?!data:|#)([^"']+)""", text)
    assert outside == []
    assert not re.search(r"url\((?!#|data:)", text)
    assert "default-src 'none'" in text
    assert len(text) < 10_000_000


def test_what_a_header_says_is_never_code(page: Path) -> None:
    text = page.read_text()
    assert NASTY not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_ids_of_figures_do_not_clash(page: Path) -> None:
    ids = re.findall(r'\sid="([^"]+)"', page.read_text())
    assert len(ids) == len(set(ids))


def test_an_evaluation_older_than_its_results_says_so(tmp_path: Path) -> None:
    one = [LittleScan("a" * 32, "pa", truth=(UPPER,), found=((UPPER, 0.9),))]
    store, config = make_store(tmp_path, one), CohortConfig(source="x", store="x")
    evaluate_store(store, config, truths=truths(tmp_path, one), settings=Evaluation(bootstraps=100))
    write_report(store, config, tmp_path / "report.html")
    assert "newer than this evaluation" not in (tmp_path / "report.html").read_text()
    make_store(tmp_path, one, store=store)
    write_report(store, config, tmp_path / "report.html")
    assert "1 results are newer than this evaluation" in (tmp_path / "report.html").read_text()


def test_a_comparison_of_recipes_older_than_their_evaluation_says_so(tmp_path: Path) -> None:
    both = [LittleScan(name, f"p{name}", truth=(UPPER,), found=((UPPER, 0.9),)) for name in ("a", "b")]
    store = make_store(tmp_path, both)
    make_store(tmp_path, both, recipe_id="b" * 16, store=store)
    config, quick = CohortConfig(source="x", store="x"), Evaluation(bootstraps=100)
    sources = truths(tmp_path, both)
    evaluate_store(store, config, truths=sources, settings=quick)
    compare_store(store, RECIPE, "b" * 16, settings=quick)
    write_report(store, config, tmp_path / "fresh.html")
    truths(tmp_path, [LittleScan("a", "pa", truth=(UPPER, LOWER))])  # the reader draws one more
    evaluate_store(store, config, truths=sources, settings=quick)
    write_report(store, config, tmp_path / "old.html")
    fresh, old = ((tmp_path / name).read_text() for name in ("fresh.html", "old.html"))
    assert "Against other recipes" in fresh
    assert "Older than the evaluation" not in fresh
    assert "Older than the evaluation above: run it again." in old


def test_a_store_without_results_has_a_report_too(tmp_path: Path) -> None:
    empty = Store.create(str(tmp_path / "store"), cohort="empty")
    write_report(empty, CohortConfig(source="x", store="x"), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "There is no lesion to show" in text
    assert "Not held against a reference standard" in text
    assert '<section id="evaluation">' not in text


@pytest.fixture
def browser() -> Iterator[object]:
    selenium = pytest.importorskip("selenium.webdriver", reason="the driver of a browser is not installed")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no chromium with its driver: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1200,1600",
        "--disable-dev-shm-usage",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield running
    running.quit()


@pytest.mark.slow
def test_a_browser_opens_sorts_and_filters_it(page: Path, browser: object, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.remote.webdriver import WebDriver

    assert isinstance(browser, WebDriver)
    browser.get(page.as_uri())
    assert browser.get_log("browser") == []
    requests = [entry["message"] for entry in browser.get_log("performance") if "requestWillBeSent" in entry["message"]]
    asked = {url for message in requests for url in re.findall(r'"url":"(https?:[^"]+)"', message)}
    assert asked == set()
    figure = next(
        f for f in browser.find_elements(By.CSS_SELECTOR, "figure.table") if "Figures" in f.text.split("\n")[0]
    )
    heads = figure.find_elements(By.CSS_SELECTOR, "th button")
    estimate = next(i for i, head in enumerate(heads) if head.text.startswith("external"))
    for _ in range(2):
        heads[estimate].click()
    cells = figure.find_elements(By.CSS_SELECTOR, f"tbody td:nth-child({estimate + 1})")
    keys = [cell.get_attribute("data-key") for cell in cells]
    values = [float(key) for key in keys if key]
    assert values == sorted(values, reverse=True)
    assert all(key is None for key in keys[len(values) :]), "what is not estimable stands last"
    assert 10 < len(values) < len(keys)
    before = len([row for row in figure.find_elements(By.CSS_SELECTOR, "tbody tr") if row.is_displayed()])
    figure.find_element(By.CSS_SELECTOR, "input").send_keys("vertebra")
    rows = [row for row in figure.find_elements(By.CSS_SELECTOR, "tbody tr") if row.is_displayed()]
    assert 0 < len(rows) < before
    assert all("vertebra" in row.text for row in rows)
    browser.set_window_size(400, 900)
    wide = browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, "a telephone scrolls down only"
    browser.set_window_size(1200, 1600)
    light = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.find_element(By.ID, "theme").click()
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") != light
    browser.save_screenshot(str(tmp_path / "report.png"))
    assert (tmp_path / "report.png").stat().st_size > 20_000
    dark = browser.execute_script("return getComputedStyle(document.body).color")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    printed = browser.execute_script(
        "return [getComputedStyle(document.body).color, getComputedStyle(document.querySelector('th')).position,"
        " getComputedStyle(document.getElementById('gallery')).contentVisibility]"
    )
    assert printed[0] != dark, "ink on paper, whatever the screen has"
    assert printed[1:] == ["static", "visible"], "a head that sticks would cover rows, and nothing is left out"
    head = browser.execute_script("return getComputedStyle(document.querySelector('th button')).display")
    assert head == "contents", "Chromium leaves buttons out of the heads that it repeats on each sheet"


@pytest.mark.slow
def test_a_picture_leads_to_its_row_and_back(page: Path, browser: object) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.remote.webdriver import WebDriver

    assert isinstance(browser, WebDriver)
    browser.get(page.as_uri())
    link = browser.find_element(By.CSS_SELECTOR, "#missed-1 figcaption a")
    browser.execute_script("arguments[0].click()", link)
    row = browser.find_element(By.CSS_SELECTOR, "tr:target")
    assert link.text in row.text
    browser.execute_script("arguments[0].click()", row.find_element(By.TAG_NAME, "a"))
    assert browser.find_element(By.CSS_SELECTOR, "figure:target").get_attribute("id") == "missed-1"
