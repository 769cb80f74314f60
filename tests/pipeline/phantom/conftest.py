"""Phantoms that several tests look at; small, so that they take a second."""

from __future__ import annotations

import pytest

from pipeline.phantom import Fov, Phantom, Style, draw_phantom


@pytest.fixture(scope="session")
def lumbar() -> Phantom:
    """A realistic lumbar spine with five lesions planned, 3 mm."""
    return draw_phantom(11, style=Style.REALISTIC, fov=Fov.LUMBAR, n_lesions=5)


@pytest.fixture(scope="session")
def whole_spine() -> Phantom:
    """All vertebrae of one patient and no lesion, 3 mm."""
    return draw_phantom(3, style=Style.REALISTIC, levels=("C1", "SACRUM"), in_plane_mm=(170.0, 150.0), n_lesions=0)
