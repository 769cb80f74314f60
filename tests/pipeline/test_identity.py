from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StoreError
from pipeline.identity import SECRET, Identity
from pipeline.store import Store

IDENTITY = Identity(b"k" * 32)
TEXT = st.text(max_size=8)


def test_the_secret_is_made_once(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "store"), cohort="c")
    assert Identity.of(store) == Identity.of(store)
    assert Identity.of(store).secret != Identity.throwaway().secret


def test_a_damaged_secret_is_refused(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "store"), cohort="c")
    store.write(SECRET, b"not hex")
    with pytest.raises(StoreError, match="secret"):
        Identity.of(store)


def test_patient_1_of_two_hospitals_is_two_patients() -> None:
    assert IDENTITY.patient_key("north", "1") != IDENTITY.patient_key("south", "1")
    assert IDENTITY.patient_key("north", "1") == IDENTITY.patient_key("north", "1")


@given(TEXT, TEXT, TEXT, TEXT)
def test_no_two_lists_of_parts_share_a_key(a: str, b: str, c: str, d: str) -> None:
    assert ((a, b) == (c, d)) == (IDENTITY.patient_key(a, b) == IDENTITY.patient_key(c, d))


@given(st.text())
def test_dates_move_back_by_up_to_a_year(patient: str) -> None:
    assert -365 <= IDENTITY.shift_days(IDENTITY.patient_key(None, patient)) <= -1


def test_another_secret_gives_other_keys_and_shows_nothing() -> None:
    other = Identity(b"x" * 32)
    assert other.patient_key("north", "1") != IDENTITY.patient_key("north", "1")
    assert "kkkk" not in repr(IDENTITY)


def test_a_site_has_one_pseudonym_however_it_is_spelled() -> None:
    assert IDENTITY.site_pseudonym("St.  Mary") == IDENTITY.site_pseudonym("ST. MARY")
    assert "mary" not in IDENTITY.site_pseudonym("St. Mary").lower()
