"""Names of vertebrae: only where two anchors agree, or C1 is seen, or a person says so."""

from __future__ import annotations

import pytest

from pipeline.errors import ModelError, ScanError
from pipeline.models.builtin.ct_levels.anchors import Signs, name
from schemas.reasons import Reason
from schemas.spine import level_name


def _signs(n: int, *, ribs: dict[int, int] | None = None, **others: bool) -> Signs:
    sides = tuple((ribs or {}).get(label, 0) for label in range(1, n + 1))
    known = {"whole": True, "sacrum_follows": False, "atlas": False} | others
    return Signs(n=n, rib_sides=sides, **known)


def _names(signs: Signs, given: dict[str, str] | None = None) -> list[str]:
    return [level_name(number) for number in name(signs, given)[0].values()]


def test_sacrum_and_last_ribs_agree() -> None:
    signs = _signs(7, ribs={1: 2, 2: 2}, sacrum_follows=True)
    assert _names(signs) == ["T11", "T12", "L1", "L2", "L3", "L4", "L5"]
    assert name(signs)[1] == "sacrum, last ribs"


@pytest.mark.parametrize("n_lumbar", [4, 6])
def test_no_name_where_the_lumbar_count_is_unusual(n_lumbar: int) -> None:
    signs = _signs(2 + n_lumbar, ribs={1: 2, 2: 2}, sacrum_follows=True)
    assert _names(signs) == [f"V{i}" for i in range(1, 3 + n_lumbar)]
    assert name(signs)[1] is None


def test_the_sacrum_alone_names_nothing() -> None:
    assert _names(_signs(4, sacrum_follows=True)) == ["V1", "V2", "V3", "V4"]


def test_no_name_across_a_gap() -> None:
    assert _names(_signs(6, ribs={1: 2}, sacrum_follows=True, whole=False))[0] == "V1"


def test_more_vertebrae_than_a_spine_has_are_refused() -> None:
    assert _names(_signs(40))[-1] == "V40"
    with pytest.raises(ScanError, match="41 vertebrae were told apart") as caught:
        name(_signs(41))
    assert caught.value.reason is Reason.MODEL_OUTPUT


def test_c1_names_down_from_the_top_and_first_ribs_must_agree() -> None:
    assert _names(_signs(5, atlas=True)) == ["C1", "C2", "C3", "C4", "C5"]
    assert _names(_signs(9, atlas=True, ribs={8: 2, 9: 2}))[-1] == "T2"
    assert _names(_signs(9, atlas=True, ribs={7: 2, 8: 2, 9: 2}))[-1] == "V9"


def test_all_ribs_in_view_name_a_chest() -> None:
    signs = _signs(16, ribs=dict.fromkeys(range(3, 15), 2))
    assert _names(signs)[2] == "T1"
    assert _names(signs)[13] == "T12"


def test_a_person_names_one_and_the_rest_follow() -> None:
    numbers, anchor = name(_signs(4), {"V3": "L3"})
    assert [level_name(n) for n in numbers.values()] == ["L1", "L2", "L3", "L4"]
    assert anchor == "user"


def test_what_lies_beyond_the_usual_count_stays_unnumbered() -> None:
    assert _names(_signs(3), {"V2": "L5"}) == ["L4", "L5", "V3"]


@pytest.mark.parametrize("given", [{"V3": "L9"}, {"3": "L3"}, {"V1": "L1", "V2": "L4"}, {"V1": "SACRUM"}])
def test_a_wrong_anchor_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ModelError):
        name(_signs(4), given)
