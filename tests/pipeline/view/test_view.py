"""The viewer: the right voxels at the right place, on the loopback only, and seen working in a browser."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import RequestError
from pipeline.store import Store
from pipeline.view.scan import ViewedScan, as_nifti, viewed_scan, window
from pipeline.view.server import serve
from tests.pipeline.evaluate.little import GRID, RECIPE, Box, LittleScan, levels, make_store, paint

UPPER: Box = (9, 8, 8, 12, 14, 14)
LOWER: Box = (3, 20, 20, 7, 27, 27)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    scans = [
        LittleScan("a" * 32, "pa", found=((UPPER, 0.9), (LOWER, 0.7))),
        LittleScan("b" * 32, "pb", status="quarantined"),
        LittleScan("ba" + "c" * 30, "pc", status="missing"),
    ]
    return make_store(tmp_path_factory.mktemp("viewed"), scans)


@pytest.fixture(scope="module")
def scan(store: Store) -> ViewedScan:
    return viewed_scan(store, "aaaa")


def test_a_scan_is_found_by_the_first_digits_of_its_key(scan: ViewedScan) -> None:
    assert scan.facts["series_key"] == "a" * 32
    assert scan.facts["recipe_id"] == RECIPE
    assert [lesion["level"] for lesion in scan.facts["lesions"]] == ["L1", "L2"]  # the surest first
    assert set(scan.files) == {"volume.nii", "lesions.nii", "levels.nii"}
    json.dumps(scan.facts)


def test_what_cannot_be_shown_is_one_clear_line(store: Store) -> None:
    with pytest.raises(RequestError, match="no series starts"):
        viewed_scan(store, "zz")
    with pytest.raises(RequestError, match="2 series start"):
        viewed_scan(store, "b")
    with pytest.raises(RequestError, match="has no volume"):
        viewed_scan(store, "bb")
    assert viewed_scan(store, "bac").facts["lesions"] == []
    assert viewed_scan(store, "aa", recipe_id=RECIPE[:4]).facts["recipe_id"] == RECIPE
    with pytest.raises(RequestError, match=f"no one result of a recipe 'ffff'; it has those of: {RECIPE}"):
        viewed_scan(store, "aa", recipe_id="ffff")  # it was once shown as a scan without a lesion
    with pytest.raises(RequestError, match="those of: none"):
        viewed_scan(store, "bac", recipe_id=RECIPE)


def test_masks_lie_where_they_were(scan: ViewedScan, tmp_path: Path) -> None:
    for name, expected in (("lesions", paint((UPPER, LOWER))), ("levels", levels())):
        (tmp_path / f"{name}.nii").write_bytes(scan.files[f"{name}.nii"])
        read = sitk.ReadImage(str(tmp_path / f"{name}.nii"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read), expected)
        assert read.GetOrigin() == pytest.approx(GRID.origin_mm)
        assert read.GetSpacing() == pytest.approx(GRID.spacing_mm[::-1])


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.float32, np.float64, np.int64])
def test_values_of_any_type_come_through(kind: type) -> None:
    voxels = np.arange(np.prod(GRID.shape)).reshape(GRID.shape).astype(kind)
    read = nib.Nifti1Image.from_bytes(as_nifti(voxels, GRID))
    np.testing.assert_array_equal(np.asarray(read.dataobj).transpose(2, 1, 0), voxels)


def test_windows() -> None:
    assert window(np.zeros((2, 2, 2)), "CT") == (-500.0, 1300.0)
    low, high = window(np.linspace(0, 100, 64 * 64 * 64).reshape(64, 64, 64), "MR")
    assert 0 < low < 3
    assert 97 < high < 100


def ask(address: str, path: str, host: str | None = None) -> tuple[int, bytes, dict[str, str]]:
    place = urlsplit(address)
    connection = HTTPConnection(str(place.hostname), place.port, timeout=20)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def test_only_who_knows_the_word_gets_an_answer(scan: ViewedScan) -> None:
    with serve(scan) as address:
        place = urlsplit(address)
        assert place.hostname == "127.0.0.1"
        status, page, headers = ask(address, place.path)
        assert status == 200
        assert b"<canvas" in page
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert ask(address, place.path + "volume.nii")[1] == scan.files["volume.nii"]
        for path in ("/", "/guess/", "/guess/volume.nii", place.path + "../../etc/passwd", place.path + "other.nii"):
            assert ask(address, path)[0] == 404
        assert ask(address, place.path, host=f"evil.example:{place.port}")[0] == 404
    with pytest.raises(ConnectionRefusedError):
        ask(address, place.path)


def test_a_port_that_cannot_be_had_is_one_clear_line(scan: ViewedScan) -> None:
    with serve(scan) as address:
        taken = urlsplit(address).port or 0
        with pytest.raises(RequestError, match=f"cannot listen on port {taken} of 127"), serve(scan, port=taken):
            pass
    with pytest.raises(RequestError, match="port 99999"), serve(scan, port=99999):
        pass


def test_the_viewer_comes_with_its_licence() -> None:
    import pipeline.view

    assets = Path(str(pipeline.view.__file__)).parent / "assets"
    assert "BSD 2-Clause" in (assets / "NIIVUE-LICENSE.md").read_text()
    assert (assets / "niivue.umd.js").stat().st_size > 1_000_000


@pytest.mark.slow
def test_a_browser_shows_the_lesions(scan: ViewedScan, tmp_path: Path) -> None:
    selenium = pytest.importorskip("selenium.webdriver", reason="the driver of a browser is not installed")
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no chromium with its driver: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,800",
        "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    try:
        with serve(scan) as address:
            browser.get(address)
            WebDriverWait(browser, 120).until(lambda b: b.find_element(By.ID, "state").text == "")
            rows = browser.find_elements(By.CSS_SELECTOR, "#lesions tr")
            assert [row.find_elements(By.TAG_NAME, "td")[0].text for row in rows] == ["L1", "L2"]
            first = browser.find_element(By.ID, "place").text
            rows[1].click()
            WebDriverWait(browser, 30).until(lambda b: b.find_element(By.ID, "place").text != first)
            browser.save_screenshot(str(tmp_path / "view.png"))
            severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
            assert severe == []
            log = "".join(entry["message"] for entry in browser.get_log("performance"))
            hosts = {urlsplit(url).hostname for url in re.findall(r'"url":"(https?:[^"]+)"', log)}
            assert hosts == {"127.0.0.1"}
    finally:
        browser.quit()


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_the_command_says_where_and_stops_when_it_is_told_to(store: Store, tmp_path: Path) -> None:
    (tmp_path / "cohort.yaml").write_text(f"cohort: little\nsource: {tmp_path}\nstore: {store.uri}\n")
    command = [
        sys.executable,
        "-m",
        "flows.cli",
        "view",
        "aaaa",
        "--no-browser",
        "--cohort",
        str(tmp_path / "cohort.yaml"),
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # a shell's background job is deaf to Ctrl-C, and so would be what it starts
    with subprocess.Popen(command, text=True, preexec_fn=_hear_interrupts, **pipes) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert ask(address, urlsplit(address).path + "facts.json")[0] == 200
        finally:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0, "it is how one ends it"
    wrong = subprocess.run([*command[:4], "zz", *command[5:]], capture_output=True, text=True, timeout=120, check=False)
    assert wrong.returncode == 2
    assert "no series starts with 'zz'" in wrong.stderr
