from __future__ import annotations

from random import Random

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.plan import make_plan, plan_id
from pipeline.series import SeriesEntry
from schemas.catalog import PLAN


def entry(number: int, patient: int, voxels: int = 10, version: str = "v1") -> SeriesEntry:
    return SeriesEntry(
        series_key=f"series{number:03}",
        study_key=f"study{patient:03}",
        patient_key=f"patient{patient:03}",
        series_uid_key="u",
        version=version,
        ingest_id="i",
        kind="dicom",
        files=(),
        n_voxels=voxels,
    )


COHORTS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60)), max_size=60).map(
    lambda rows: [entry(number, patient, voxels) for number, (patient, voxels) in enumerate(rows)]
)


@given(COHORTS, st.randoms())
def test_files_found_in_any_order_make_the_same_shards(series: list[SeriesEntry], random: Random) -> None:
    shuffled = random.sample(series, len(series))
    assert make_plan(series, None, max_series=8, max_voxels=100) == make_plan(
        shuffled, None, max_series=8, max_voxels=100
    )


@given(COHORTS, st.integers(0, 60))
def test_scans_that_arrive_later_move_nothing(series: list[SeriesEntry], split: int) -> None:
    first = make_plan(series[:split], None, max_series=8, max_voxels=100)
    later = make_plan(series, first, max_series=8, max_voxels=100)
    both = pa.concat_tables([first, later]).to_pylist()
    planned = [(row["series_key"], row["version"]) for row in both]
    assert sorted(planned) == sorted((s.series_key, s.version) for s in series)
    assert not {r["shard"] for r in first.to_pylist()} & {r["shard"] for r in later.to_pylist()}


@given(COHORTS)
def test_shards_keep_their_bounds_and_patients_together(series: list[SeriesEntry]) -> None:
    rows = make_plan(series, None, max_series=8, max_voxels=100).to_pylist()
    shards: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        shards.setdefault(row["shard"], []).append(row)
    for members in shards.values():
        assert len(members) <= 8
        assert len(members) == 1 or sum(int(str(m["n_voxels"])) for m in members) <= 100
        assert [m["position"] for m in members] == list(range(len(members)))
    for patient in {s.patient_key for s in series}:
        own = [s for s in series if s.patient_key == patient]
        if len(own) <= 8 and sum(s.n_voxels for s in own) <= 100:
            assert len({r["shard"] for r in rows if r["patient_key"] == patient}) == 1


def test_a_new_version_is_planned_again_and_nothing_new_is_an_empty_plan() -> None:
    first = make_plan([entry(1, 1)], None)
    assert make_plan([entry(1, 1)], first).num_rows == 0
    assert make_plan([entry(1, 1)], first).schema == PLAN
    assert make_plan([entry(1, 1, version="v2")], first)["version"].to_pylist() == ["v2"]
    assert plan_id(first) != plan_id(make_plan([entry(1, 1, version="v2")], first))
