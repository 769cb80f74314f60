from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.index.select import orientation, select
from pipeline.series import SeriesEntry
from schemas.config import Select

AXIAL = [1.0, 0, 0, 0, 1, 0, 0, 0, 1]
SAGITTAL = [0.0, 0, 1, 1, 0, 0, 0, -1, 0]


def entry(name: str, *, modality: str = "CT", study: str = "s1", **columns: Any) -> SeriesEntry:
    return SeriesEntry(
        series_key=name,
        study_key=study,
        patient_key="p",
        series_uid_key="u",
        version="v",
        ingest_id="i",
        kind="dicom",
        files=(),
        modality=modality,
        n_voxels=int(columns.pop("n_voxels", 1000)),
        columns={"direction": AXIAL, "image_type": ["ORIGINAL", "PRIMARY"], **columns},
    )


THIN = entry("thin", computed_spacing_mm=1.0, convolution_kernel=["B60f"], series_description="Spine bone")
SOFT = entry("soft", computed_spacing_mm=3.0, convolution_kernel=["B30f"], kvp=120.0)
MR = entry("mr", modality="MR", direction=SAGITTAL, computed_spacing_mm=4.0)


def excluded(*rules: Select, series: tuple[SeriesEntry, ...] = (THIN, SOFT, MR)) -> dict[str, str | None]:
    return {e.series_key: e.excluded_by for e in select(series, rules)}


def test_without_rules_nothing_is_left_out_and_the_thin_one_is_preferred() -> None:
    chosen = select((SOFT, THIN), ())
    assert {e.excluded_by for e in chosen} == {None}
    assert min(chosen, key=lambda e: e.preference).series_key == "thin"


def test_rules_apply_in_order_and_the_first_that_drops_is_named() -> None:
    rules = (
        Select(name="only CT", modality=["CT"]),
        Select(name="soft kernel", matches={"convolution_kernel": "^b[23]"}),
        Select(name="sagittal", orientation="sagittal"),
    )
    assert excluded(*rules) == {"thin": "soft kernel", "soft": "sagittal", "mr": "only CT"}


def test_ranges_and_missing_values() -> None:
    assert excluded(Select(name="thin", ranges={"computed_spacing_mm": (None, 3.0)}))["mr"] == "thin"
    assert excluded(Select(name="kv", ranges={"kvp": (100, 130)})) == {"thin": "kv", "soft": None, "mr": "kv"}


def test_patterns_that_must_not_be_found() -> None:
    rule = Select(name="no bone", excludes={"series_description": "bone"})
    assert excluded(rule) == {"thin": "no bone", "soft": None, "mr": None}


def test_one_series_stays_per_study_and_modality() -> None:
    rule = Select(name="one each", prefer=["convolution_kernel=B30", "computed_spacing_mm"])
    other = entry("other", study="s2", computed_spacing_mm=9.0)
    assert excluded(rule, series=(THIN, SOFT, MR, other)) == {
        "thin": "one each",
        "soft": None,
        "mr": None,
        "other": None,
    }
    largest = Select(name="large", prefer=["-computed_spacing_mm"])
    assert excluded(largest, series=(SOFT, THIN))["thin"] == "large"


def test_a_preference_chooses_among_what_is_left() -> None:
    rules = (Select(name="no bone", excludes={"series_description": "bone"}), Select(name="one", prefer=["kvp"]))
    assert excluded(*rules, series=(THIN, SOFT)) == {"thin": "no bone", "soft": None}


@pytest.mark.parametrize(
    "rule",
    [
        Select(name="x", ranges={"slice_thicknes": (0, 1)}),
        Select(name="x", matches={"modality": "("}),
        Select(name="x", prefer=["-no_such"]),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: Select) -> None:
    with pytest.raises(ConfigError, match="'x'"):
        select((THIN,), (rule,))


def test_orientation_is_the_nearest_plane() -> None:
    assert orientation(AXIAL) == "axial"
    assert orientation(SAGITTAL) == "sagittal"
    assert orientation(None) is None
