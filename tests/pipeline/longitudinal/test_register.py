from __future__ import annotations

import numpy as np
import pytest

from pipeline.longitudinal.register import STILL, Rigid, dice, register_vertebra
from tests.pipeline.longitudinal.patients import Body, Sphere, grid_at, scanned, turned


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_a_turned_vertebra_is_brought_onto_itself(modality: str) -> None:
    true = turned("T12", (7, -5, 6), (6, -4, 5))
    before = scanned([])
    after = scanned([Sphere("T12", (5, 0, 0), 6, hu=700)], body=Body({"T12": true}), grid=grid_at((3.0, 1.2, 1.2)))
    first, second = before.vertebrae["T12"], after.vertebrae["T12"]
    motion, overlap = register_vertebra(first, second, modality=modality)
    away = np.linalg.norm(motion.apply(first.points()) - true.apply(first.points()), axis=1)
    assert away.mean() < 1.0
    assert away.max() < 2.0
    assert overlap > 0.85
    again, _ = register_vertebra(first, second, modality=modality)
    assert again.rotation == pytest.approx(motion.rotation, abs=1e-9)
    assert again.shift_mm == pytest.approx(motion.shift_mm, abs=1e-6)


def test_there_and_back() -> None:
    motion = turned("L1", (10, 20, 30), (1, 2, 3))
    points = np.random.default_rng(0).normal(size=(5, 3))
    assert motion.inverse().apply(motion.apply(points)) == pytest.approx(points)


def test_dice_counts_only_what_both_scans_hold() -> None:
    whole = scanned([]).vertebrae["T12"]
    half = scanned([], grid=grid_at(from_z=52.0)).vertebrae["T12"]
    assert dice(whole, half, STILL) > 0.95
    assert dice(whole, whole, Rigid(np.eye(3), np.array([500.0, 0, 0]))) == 0.0
