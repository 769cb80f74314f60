"""Made-up scans with a known change; no real truth over time was at hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.grid import Grid, Volume
from pipeline.longitudinal.match import match_scans
from schemas.columns import table
from schemas.edges import EDGES, REASONS, STATES
from schemas.spine import level_number
from tests.pipeline.longitudinal.patients import Body, Sphere, grid_at, masked, scanned, turned

MOVED = Body({"T11": turned("T11", (4, 0, 3), (5, 3, -6)), "T12": turned("T12", (-5, 3, 0), (3, 6, -4))})
"""The patient lies otherwise in the second scan: two vertebrae have moved by 8 mm, each in its own way."""


def states(edges: list[dict]) -> dict[tuple[object, object], str]:
    return {(edge.get("lesion_id_0"), edge.get("lesion_id_1")): edge["state"] for edge in edges}


def as_rows(edges: list[dict]) -> list[dict]:
    keys = {name: "x" for name in EDGES.names if not EDGES.field(name).nullable and name not in edges[0]}
    return table([keys | edge for edge in edges], EDGES).to_pylist()


def test_every_fate_of_a_lesion() -> None:
    before = scanned(
        [
            Sphere("T11", (-10, 0, 0), 6),  # 1 grows
            Sphere("T11", (10, 0, 0), 6),  # 2 shrinks
            Sphere("T12", (-11, 0, 0), 5),  # 3 stays, and turns dense
            Sphere("T12", (10, 2, 0), 4),  # 4 goes away
            Sphere("L1", (-9, 0, 0), 4),  # 5 and 6 become one
            Sphere("L1", (2, 0, 0), 4),
        ]
    )
    after = scanned(
        [
            Sphere("L1", (-4, 0, 0), 9),  # 1 was 5 and 6
            Sphere("T11", (10, 0, 0), 3.5),  # 2
            Sphere("T11", (-10, 0, 0), 8.5),  # 3
            Sphere("T12", (-11, 0, 0), 5, hu=600),  # 4
            Sphere("T12", (0, 20, 0), 3),  # 5 is new
        ],
        body=MOVED,
        grid=grid_at((2.5, 1.4, 1.4)),
        seed=1,
    )
    edges = match_scans(before, after, modality="CT")
    assert states(edges) == {
        (1, 3): "growing",
        (2, 2): "shrinking",
        (3, 4): "stable",
        (4, None): "resolved",
        (5, 1): "merged",
        (6, 1): "merged",
        (None, 5): "new",
    }
    rows = {(row["lesion_id_0"], row["lesion_id_1"]): row for row in as_rows(edges)}
    assert rows[5, 1]["event"] == rows[6, 1]["event"]
    assert (rows[5, 1]["n_0"], rows[5, 1]["n_1"]) == (2, 1)
    assert len({row["event"] for row in rows.values()}) == 6
    assert rows[3, 4]["hu_mean_change"] == pytest.approx(650, abs=15)
    assert abs(rows[3, 4]["volume_change"]) < 0.15
    assert rows[1, 3]["volume_change"] == pytest.approx((8.5 / 6) ** 3 - 1, rel=0.15)
    assert rows[5, 1]["event_volume_0_mm3"] == pytest.approx(rows[5, 1]["volume_0_mm3"] + rows[6, 1]["volume_0_mm3"])
    assert all(row["registration"] == "vertebra" and row["registration_dice"] > 0.85 for row in rows.values())
    assert rows[4, None]["volume_change"] is None
    assert {row["state"] for row in rows.values()} <= set(STATES)


def test_a_lesion_that_splits() -> None:
    before = scanned([Sphere("T12", (0, 0, 0), 9)])
    after = scanned([Sphere("T12", (-6, 0, 0), 4), Sphere("T12", (6, 0, 0), 4)], body=MOVED)
    edges = match_scans(before, after, modality="CT")
    assert states(edges) == {(1, 1): "split", (1, 2): "split"}
    assert {edge["n_1"] for edge in edges} == {2}


def test_a_level_out_of_the_field_of_view_is_not_assessable() -> None:
    low = grid_at(from_z=0.0, to_z=66.0)  # L1 and T12, not T11
    both = [Sphere("T11", (0, 0, 0), 6), Sphere("L1", (0, 0, 0), 6)]
    lost = match_scans(scanned(both), scanned(both[1:], grid=low), modality="CT")
    assert states(lost) == {(1, None): "not_assessable", (2, 1): "stable"}
    assert lost[-1]["reason"] == "outside_field_of_view"
    found = match_scans(scanned(both[1:], grid=low), scanned(both), modality="CT")
    assert states(found) == {(None, 1): "not_assessable", (1, 2): "stable"}


def test_neighbours_are_not_taken_for_one_another() -> None:
    """A lesion goes away and another appears 14 mm beside it."""
    before, after = scanned([Sphere("T12", (-7, 0, 0), 4)]), scanned([Sphere("T12", (7, 0, 0), 4)])
    assert states(match_scans(before, after, modality="CT")) == {(1, None): "resolved", (None, 1): "new"}


def test_small_lesions_that_miss_each_other_are_assigned() -> None:
    before = scanned([Sphere("T12", (-6, 0, 0), 1.6)])
    after = scanned([Sphere("T12", (-1.5, 0, 0), 1.6)])
    (edge,) = match_scans(before, after, modality="CT")
    assert (edge["lesion_id_0"], edge["lesion_id_1"]) == (1, 1)
    assert 3 < edge["distance_mm"] < 6


def test_without_levels_a_shared_frame_of_reference_will_do() -> None:
    before = scanned([Sphere("T12", (0, 0, 0), 6), Sphere("L1", (0, 0, 0), 5)], frame="f", with_levels=False)
    after = scanned([Sphere("T12", (1, 0, 0), 6)], frame="f", with_levels=False)
    edges = match_scans(before, after, modality="CT")
    assert states(edges) == {(1, 1): "stable", (2, None): "resolved"}
    assert {edge["registration"] for edge in edges} == {"frame_of_reference"}


def test_without_levels_and_frame_absence_proves_nothing() -> None:
    before = scanned([Sphere("T12", (0, 0, 0), 6), Sphere("L1", (0, 0, 0), 6)], with_levels=False)
    after = scanned([Sphere("T12", (0, 0, 0), 6)], with_levels=False)
    edges = match_scans(before, after, modality="CT")
    assert {edge["registration"] for edge in edges} == {"centroid"}
    assert {edge["reason"] for edge in edges if edge["state"] == "not_assessable"} == {"no_common_level"}
    assert "resolved" not in states(edges).values()
    one = match_scans(after, after, modality="CT")
    assert states(one) == {(1, 1): "not_assessable"}, "two single lesions always meet"


def test_without_levels_and_frame_three_lesions_in_one_pattern_are_the_same() -> None:
    lesions = [Sphere("T11", (0, 0, 0), 6), Sphere("T12", (8, 0, 0), 6), Sphere("L1", (-4, 0, 0), 6)]
    scan = scanned(lesions, with_levels=False)
    edges = match_scans(scan, scan, modality="CT")
    assert states(edges) == {(1, 1): "stable", (2, 2): "stable", (3, 3): "stable"}


def test_one_lesion_each_in_unnumbered_vertebrae_may_be_two() -> None:
    """The first lesion went away and another came two vertebrae further down: nothing says that, nor the opposite."""
    names = {"T11": "V1", "T12": "V2", "L1": "V3"}
    before, after = (scanned([Sphere(level, (0, 0, 0), 6)], names=names) for level in ("T11", "L1"))
    (edge,) = match_scans(before, after, modality="CT")
    assert (edge["state"], edge["reason"]) == ("not_assessable", "no_common_level")
    assert edge["volume_change"] is None


def test_unnumbered_vertebrae_are_not_found_again_by_their_name() -> None:
    names = {"T11": "V1", "T12": "V2", "L1": "V3"}
    lesions = [Sphere("T12", (0, 0, 0), 6)]
    (edge,) = match_scans(scanned(lesions, names=names), scanned(lesions, names=names), modality="CT")
    assert edge["registration"] == "centroid"


def test_far_from_every_common_level_absence_proves_nothing() -> None:
    """Only L1 has a name: T12 is its neighbour, and T11 is 64 mm away."""
    names = {"T11": "V1", "T12": "V2"}
    lesions = [Sphere("T11", (0, 0, 0), 6), Sphere("T12", (0, 0, 0), 6), Sphere("L1", (0, 0, 0), 6)]
    full, left = scanned(lesions, names=names), scanned(lesions[2:], names=names)
    lost, found = match_scans(full, left, modality="CT"), match_scans(left, full, modality="CT")
    assert states(lost) == {(1, None): "not_assessable", (2, None): "resolved", (3, 1): "stable"}
    assert states(found) == {(None, 1): "not_assessable", (None, 2): "new", (1, 3): "stable"}
    assert {edge["reason"] for edge in (*lost, *found)} == {"no_common_level", None}


@pytest.mark.parametrize("frame", [None, "f"])
def test_a_vertebra_that_was_not_found_is_not_assessable(frame: str | None) -> None:
    """T12 is missing from the levels of one scan: nobody looked for lesions in it, though its place is in view."""
    full, left = (scanned([Sphere("T12", (0, 0, 0), 6)][:n], frame=frame) for n in (1, 0))
    assert left.levels is not None
    left.levels[left.levels == level_number("T12")] = 0
    (lost,), (found,) = match_scans(full, left, modality="CT"), match_scans(left, full, modality="CT")
    assert (lost["state"], lost["reason"]) == ("not_assessable", "level_not_found")
    assert (found["state"], found["reason"]) == ("not_assessable", "level_not_found")


def test_lesions_outside_vertebrae_go_with_the_nearest() -> None:
    beside = [Sphere("T12", (0, 0, 0), 6), Sphere("L1", (32, 0, 0), 5)]
    edges = match_scans(
        scanned(beside), scanned(beside, body=Body({"L1": turned("L1", (0, 0, 0), (0, 8, 3))})), modality="CT"
    )
    assert states(edges) == {(1, 1): "stable", (2, 2): "stable"}
    assert edges[1]["level"] == "none"
    assert edges[1]["registration"] == "nearest_vertebra"


@pytest.mark.parametrize("empty", ["both", "first", "second"])
def test_scans_without_lesions(empty: str) -> None:
    some, none = scanned([Sphere("T12", (0, 0, 0), 6)]), scanned([])
    before, after = {"both": (none, none), "first": (none, some), "second": (some, none)}[empty]
    edges = match_scans(before, after, modality="CT")
    expected = {"both": {}, "first": {(None, 1): "new"}, "second": {(1, None): "resolved"}}[empty]
    assert states(edges) == expected


def test_lesions_are_near_by_their_boxes() -> None:
    scan = scanned([Sphere("T11", (0, 0, 0), 5), Sphere("T12", (8, 0, 0), 4), Sphere("L1", (-6, 4, 0), 3)])
    for point in scan.grid.to_lps(np.random.default_rng(0).uniform(0, scan.grid.shape, (50, 3))):
        for far in (2.0, 15.0, 40.0):
            gaps = {n: np.maximum(p.min(axis=0) - point, point - p.max(axis=0)).max() for n, p in scan.points.items()}
            assert scan.lesions_within(far, point[np.newaxis]) == {n for n, gap in gaps.items() if gap <= far}
    assert scanned([]).lesions_within(99.0, np.zeros((1, 3))) == set()


def test_planar_scans_compare_areas() -> None:
    grid = Grid((1, 60, 60), (1.0, 2.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))

    def spot(size: int) -> object:
        mask = np.zeros(grid.shape, np.uint16)
        mask[0, 20 : 20 + size, 20 : 20 + size] = 1
        return masked(Volume(np.ones(grid.shape, np.float32), grid), mask, None, "f", "NM")

    (edge,) = match_scans(spot(6), spot(9), modality="NM")
    assert edge["state"] == "growing"
    assert edge["volume_change"] is None
    (edge,) = match_scans(spot(6), spot(7), modality="NM")
    assert edge["state"] == "stable"


def test_reasons_are_declared() -> None:
    assert set(REASONS) == {"outside_field_of_view", "no_common_level", "poor_registration", "level_not_found"}
