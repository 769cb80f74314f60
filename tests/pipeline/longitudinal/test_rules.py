"""Rules on made-up histories whose answer is known by the rule's own text."""

from __future__ import annotations

import pytest

from tests.pipeline.longitudinal.histories import History


def followed(*axes: float, known: bool | None = None) -> History:
    """One lesion with these axes, one scan every 60 days."""
    history = History([60 * i for i in range(len(axes))])
    for scan, axis in enumerate(axes):
        if axis:
            history.lesion(scan, 1, axis, measurable_recist=known)
        if scan and axis:
            history.edge(scan, "stable", 1, 1)
        elif scan:
            history.edge(scan, "resolved", 1, None)
    return history


def recist(history: History) -> list[str | None]:
    return [row["response_if_measurable"] for row in history.ask("response_recist")]


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ((20, 14.1), [None, "SD"]),
        ((20, 14), [None, "PR"]),
        ((90, 63), [None, "PR"]),  # 0.7 * 90 is 62.99999999999999
        ((11.4, 16.4), [None, "PD"]),  # 5 mm, less a rounding error
        ((20, 23.9), [None, "SD"]),
        ((40, 48), [None, "PD"]),
        ((20, 24.5), [None, "SD"]),  # 22.5 %, but not 5 mm
        ((20, 10, 14.9), [None, "PR", "SD"]),  # 49 % over the nadir, but not 5 mm
        ((30, 12, 17), [None, "PR", "PD"]),  # below baseline, over the nadir
        ((20, 0), [None, "CR"]),
        ((9, 9), [None, None]),  # no target of 10 mm
    ],
)
def test_recist(axes: tuple[float, ...], expected: list[str | None]) -> None:
    assert recist(followed(*axes)) == expected


def test_recist_has_no_answer_without_a_soft_tissue_part() -> None:
    row = followed(20, 10).ask("response_recist")[1]
    assert row["response"] is None
    assert "soft-tissue" in row["reason"]
    assert row["change_from_baseline"] == pytest.approx(-0.5)
    known = followed(20, 10, known=True).ask("response_recist")[1]
    assert (known["response"], known["n_measurable"]) == ("PR", 1)
    never = followed(20, 10, known=False).ask("response_recist")[1]
    assert (never["response"], never["n_measurable"]) == (None, 0)


def test_recist_takes_two_targets_at_most_and_any_new_lesion() -> None:
    history = History([0, 60, 120])
    for number, axis in enumerate((30, 25, 24, 12), start=1):
        history.lesion(0, number, axis).lesion(1, number, axis).edge(1, "stable", number, number)
        history.lesion(2, number, axis).edge(2, "stable", number, number)
    history.lesion(1, 5, 6).edge(1, "new", None, 5).lesion(2, 5, 6).edge(2, "stable", 5, 5)
    rows = history.ask("response_recist")
    assert [row["n_targets"] for row in rows] == [2, 2, 2]
    assert [row["sum_mm"] for row in rows] == [55, 55, 55]
    assert [row["response_if_measurable"] for row in rows] == [None, "PD", "PD"]
    assert [row["n_new"] for row in rows] == [0, 1, 1]


def test_recist_follows_parts_of_a_target() -> None:
    split = History([0, 60]).lesion(0, 1, 30).lesion(1, 1, 12).lesion(1, 2, 8)
    split.edge(1, "split", 1, 1).edge(1, "split", 1, 2)
    assert split.ask("response_recist")[1]["sum_mm"] == 20
    merged = History([0, 60]).lesion(0, 1, 15).lesion(0, 2, 14).lesion(1, 1, 33)
    merged.edge(1, "merged", 1, 1).edge(1, "merged", 2, 1)
    assert merged.ask("response_recist")[1]["sum_mm"] == 33


def test_recist_stays_open_once_a_target_is_out_of_view() -> None:
    history = History([0, 60, 120]).lesion(0, 1, 30).edge(1, "not_assessable", 1, None)
    history.lesion(2, 1, 30).edge(2, "not_assessable", None, 1)
    rows = history.ask("response_recist")
    assert [row["sum_mm"] for row in rows] == [30, None, None]
    assert [row["response_if_measurable"] for row in rows] == [None, None, None]
    assert rows[1]["n_new"] == 0
    assert rows[1]["reason"].startswith("a target cannot be assessed at this study; whether targets have")


def test_recist_needs_an_axial_diameter() -> None:
    history = History([0, 60]).lesion(0, 1, 30).lesion(1, 1, 30, axial_long_axis_mm=None).edge(1, "stable", 1, 1)
    assert history.ask("response_recist")[1]["sum_mm"] is None


@pytest.mark.parametrize("view", ["response_recist", "response_md_anderson"])
def test_scans_that_were_not_matched_have_no_answer(view: str) -> None:
    history = History([0, 60, 120]).lesion(0, 1).lesion(1, 1).lesion(2, 1).edge(2, "stable", 1, 1)
    rows = history.ask(view)
    assert [row["response"] for row in rows] == [None, None, None]
    assert "not matched" in rows[1]["reason"]
    assert "not matched" in rows[2]["reason"]


def md_anderson(history: History) -> str | None:
    return history.ask("response_md_anderson")[-1]["response"]


def test_md_anderson_by_size() -> None:
    assert md_anderson(followed(20, 20)) == "SD"
    assert md_anderson(followed(20, 14)) == "PR"  # the product falls by 51 %
    assert md_anderson(followed(20, 22)) == "SD"
    assert md_anderson(followed(20, 23)) == "PD"  # + 32 %
    assert md_anderson(followed(20, 0)) == "CR"
    assert md_anderson(followed(20, 14, 18)) == "PD"


def test_md_anderson_takes_sclerosis_for_healing() -> None:
    history = History([0, 60]).lesion(0, 1).lesion(1, 1, 24, lesion_type="blastic")
    history.edge(1, "growing", 1, 1, lesion_type_0="lytic", lesion_type_1="blastic")
    row = history.ask("response_md_anderson")[1]
    assert (row["response"], row["n_healing"], row["n_progressing"]) == ("PR", 1, 0)


def test_md_anderson_does_not_call_a_new_blastic_focus_progress() -> None:
    history = (
        History([0, 60]).lesion(0, 1).lesion(1, 1).edge(1, "stable", 1, 1, lesion_type_0="lytic", lesion_type_1="lytic")
    )
    history.lesion(1, 2, lesion_type="blastic").edge(1, "new", None, 2, lesion_type_1="blastic")
    row = history.ask("response_md_anderson")[1]
    assert (row["response"], row["n_new_blastic"]) == (None, 1)
    assert "healing" in row["reason"]
    history.lesion(1, 3).edge(1, "new", None, 3, lesion_type_1="lytic")
    assert md_anderson(history) == "PD"


def test_md_anderson_where_a_lesion_is_out_of_view() -> None:
    history = History([0, 60]).lesion(0, 1).edge(1, "not_assessable", 1, None)
    assert md_anderson(history) is None


def bone_scans(days: list[int], new: list[int], kept: list[bool] | None = None) -> list[str | None]:
    """`new[i]` lesions appear at scan i; all stay unless `kept[i]` says that those of before are gone."""
    history = History(days, modality="NM")
    known: list[int] = []
    for scan, count in enumerate(new):
        fresh = list(range(100 * scan + 1, 100 * scan + 1 + count))
        stay = known if not kept or kept[scan] else []
        for number in [*stay, *fresh]:
            history.lesion(scan, number)
        if scan:
            for number in known:
                history.edge(
                    scan, "stable" if number in stay else "resolved", number, number if number in stay else None
                )
            for number in fresh:
                history.edge(scan, "new", None, number)
        known = [*stay, *fresh]
    return [row["response"] for row in history.ask("response_pcwg3")]


def test_pcwg3_two_plus_two() -> None:
    assert bone_scans([0, 60, 110], [3, 2, 2]) == [None, "PD", None]  # scan 2 waits for its own confirmation
    assert bone_scans([0, 60, 110], [3, 2, 1]) == [None, "non-PD", "non-PD"]  # a flare
    assert bone_scans([0, 60, 110], [3, 1, 0]) == [None, "non-PD", "non-PD"]
    assert bone_scans([0, 60, 90], [3, 2, 2]) == [None, None, None]  # the next scan is too soon
    assert bone_scans([0, 40, 110], [3, 2, 2])[1] is None  # sooner than 8 weeks


def test_pcwg3_after_the_flare_window() -> None:
    assert bone_scans([0, 60, 120, 180], [3, 2, 2, 0])[2] == "PD"
    assert bone_scans([0, 60, 120, 180], [3, 0, 1, 1])[2:] == ["non-PD", None]
    assert bone_scans([0, 60, 120, 180, 240], [3, 0, 1, 1, 0])[3] == "PD"  # one and one make two against scan 1
    assert bone_scans([0, 60, 120, 180], [3, 0, 2, 0], [True, True, True, False])[2] == "non-PD"  # they did not last


def test_pcwg3_is_for_bone_scans() -> None:
    row = followed(20, 20).ask("response_pcwg3")[1]
    assert (row["response"], row["reason"]) == (None, "a rule for bone scans")


@pytest.mark.parametrize(
    ("level", "location"),
    [("C2", 3), ("C5", 2), ("T2", 3), ("T3", 1), ("T10", 1), ("T11", 3), ("L1", 3), ("L3", 2), ("L5", 3)],
)
def test_sins_location(level: str, location: int) -> None:
    (row,) = History([0]).vertebra(0, level).ask("sins")
    assert row["location"] == location


def test_sins_is_a_range_without_pain_and_alignment() -> None:
    whole = {"height_ratio": 0.45, "body_involved_fraction": 0.6, "posterior_involvement": "bilateral"}
    (row,) = History([0]).vertebra(0, "T12", dominant_type="lytic", **whole).ask("sins")
    assert (row["location"], row["bone_lesion"], row["collapse"], row["posterolateral"]) == (3, 2, 3, 3)
    assert (row["sins_min"], row["sins_max"]) == (11, 18)
    assert row["reason"] == "not known: alignment, pain"


def test_sins_collapse() -> None:
    def collapse(**columns: object) -> int | None:
        return History([0]).vertebra(0, "T5", **columns).ask("sins")[0]["collapse"]

    assert collapse(height_ratio=0.7, body_involved_fraction=0.9) == 2
    assert collapse(height_ratio=0.95, body_involved_fraction=0.6) == 1
    assert collapse(height_ratio=0.95, body_involved_fraction=0.2) == 0
    assert collapse(body_involved_fraction=0.9) is None


def test_sins_of_little_knowledge_is_wide() -> None:
    (row,) = History([0]).vertebra(0, "V3").ask("sins")
    assert (row["sins_min"], row["sins_max"]) == (0, 18)
    assert row["reason"] == "not known: location, bone lesion, collapse, posterolateral, alignment, pain"


def test_sins_only_of_vertebrae_with_a_lesion() -> None:
    history = (
        History([0]).vertebra(0, "none").vertebra(0, "L2", lesion_load_mm3=0.0).vertebra(0, "L3", lesion_load_mm3=None)
    )
    assert history.ask("sins") == []
