from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.dicom.values import rescale, smallest

STORED = st.sampled_from([np.int16, np.uint16, np.uint8, np.int32]).flatmap(lambda kind: hnp.arrays(kind, (3, 2, 2)))
WHOLE = hnp.arrays(np.float64, 3, elements=st.integers(-3, 3).map(float))
INTERCEPTS = hnp.arrays(np.float64, 3, elements=st.sampled_from([0.0, -1024.0, 1.0, -8192.0, 70000.0]))


@given(STORED, WHOLE, INTERCEPTS)
def test_whole_rescaling_is_exact(stored: np.ndarray, slopes: np.ndarray, intercepts: np.ndarray) -> None:
    expected = stored.astype(np.float64) * slopes[:, None, None] + intercepts[:, None, None]
    values = rescale(stored.copy(), slopes, intercepts)
    if np.issubdtype(values.dtype, np.integer):
        np.testing.assert_array_equal(values.astype(np.float64), expected)
    else:
        assert np.abs(expected).max() >= 2**31
        np.testing.assert_array_equal(values, expected.astype(np.float32))


@given(STORED, hnp.arrays(np.float64, 3, elements=st.floats(1e-3, 10)), INTERCEPTS)
def test_slopes_apply_slice_by_slice(stored: np.ndarray, slopes: np.ndarray, intercepts: np.ndarray) -> None:
    expected = stored.astype(np.float64) * slopes[:, None, None] + intercepts[:, None, None]
    np.testing.assert_array_equal(
        rescale(stored.copy(), slopes, intercepts).astype(np.float32), expected.astype(np.float32)
    )


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(-1024, 3071, np.int16), (0, 40000, np.uint16), (-1, 40000, np.int32), (0, 2**31, np.uint32)],
)
def test_the_smallest_type_that_holds_them(low: int, high: int, kind: type) -> None:
    assert smallest(np.array([[[low, high]]], np.int64)).dtype == kind
    assert smallest(np.array([[[low, high]]], np.float64)).dtype == kind


def test_fractions_become_float32_and_bytes_stay() -> None:
    assert smallest(np.array([[[0.5]]])).dtype == np.float32
    assert smallest(np.array([[[np.nan, 1.0]]])).dtype == np.float32
    assert smallest(np.array([[[200]]], np.uint8)).dtype == np.uint8
