"""Sites listed, pooled, and never mixed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from pipeline.errors import ConfigError
from pipeline.evaluate.sites import SiteEstimate, pool, site_rows
from pipeline.evaluate.statistics.estimate import Estimate
from pipeline.evaluate.statistics.proportions import proportion
from pipeline.evaluate.statistics.random_effects import logit_of_proportion


def site(name: str, k: int, n: int, *, split: str = "external", patients: int = 30) -> SiteEstimate:
    effect, variance = logit_of_proportion(k, n)
    return SiteEstimate(split, "lesion", "sensitivity", name, proportion(k, n), effect, variance, patients)


def test_parts_are_not_pooled_together() -> None:
    with pytest.raises(ConfigError, match="internal is not external"):
        pool([site("a", 8, 10), site("b", 7, 10), site("c", 6, 10, split="internal")])


def test_two_sites_are_listed_and_not_pooled() -> None:
    rows = site_rows([site("a", 8, 10), site("b", 7, 10)], recipe_id="r", attempt="t")
    assert [row["kind"] for row in rows] == ["site", "site", "pooled"]
    assert rows[-1]["value"] is None
    assert rows[-1]["note"] == "not estimable: of 2 sites 2 can be pooled, 3 are needed"


def test_a_site_with_one_patient_is_listed_and_left_out() -> None:
    alone = SiteEstimate("external", "lesion", "sensitivity", "d", proportion(1, 1), None, None, 1)
    rows = site_rows([site("a", 8, 10), site("b", 7, 10), site("c", 9, 10), alone], recipe_id="r", attempt="t")
    assert [row["site"] for row in rows if row["kind"] == "site"] == ["a", "b", "c", "d"]
    by_site = {row["site"]: row for row in rows if row["kind"] == "site"}
    assert by_site["d"]["weight"] is None
    assert sum(by_site[name]["weight"] for name in "abc") == pytest.approx(1)
    pooled = next(row for row in rows if row["kind"] == "pooled")
    assert pooled["n_patients"] == 90
    assert pooled["low"] < pooled["value"] < pooled["high"]
    assert pooled["prediction_low"] is None  # three sites are too few


def test_five_sites_one_of_them_perfect() -> None:
    found = [site(name, k, 30) for name, k in zip("abcde", (30, 25, 20, 24, 15), strict=True)]
    rows = site_rows(found, recipe_id="r", attempt="t")
    pooled = next(row for row in rows if row["kind"] == "pooled")
    assert 0 < pooled["prediction_low"] < pooled["low"]
    assert pooled["high"] < pooled["prediction_high"] < 1
    assert pooled["value"] == pytest.approx(float(expit(pooled["effect"])))
    without = {row["site"]: row["value"] for row in rows if row["kind"] == "without"}
    assert set(without) == set("abcde")
    assert without["a"] < pooled["value"] < without["e"]


def test_an_area_without_a_variance_is_listed() -> None:
    perfect = SiteEstimate("all", "patient", "auroc", "a", Estimate(1.0, note="no interval: separated"), None, None, 40)
    usual = [
        SiteEstimate("all", "patient", "auroc", name, Estimate(0.8, 0.7, 0.9), float(logit(0.8)), 0.1, 40)
        for name in "bcd"
    ]
    rows = site_rows([perfect, *usual], recipe_id="r", attempt="t")
    pooled = next(row for row in rows if row["kind"] == "pooled")
    assert pooled["value"] == pytest.approx(0.8)
    assert pooled["i2"] == 0.0
    assert np.isfinite(pooled["low"])
