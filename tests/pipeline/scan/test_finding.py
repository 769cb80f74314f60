"""What a recipe's keys do to one scan, from the words of a cohort file to its row and its masks."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pipeline.errors import ConfigError, ModelError
from pipeline.grid import Volume
from pipeline.masks import BODY, POSTERIOR
from pipeline.recipe import ResolvedRecipe, detection_id, resolve_all
from pipeline.scan.finding import threshold_of, use_of
from pipeline.scan.process import ScanRequest, Workplace, process_scan
from pipeline.scan.remeasure import OF_LESION
from pipeline.scan.request import Earlier
from pipeline.store import Store
from pipeline.store.volumes import read_stored_masks, write_labels, write_volume
from schemas.config import CohortConfig
from schemas.versions import STAGES
from tests.pipeline.models.networks import SETTINGS, save_safetensors, small_scan, write_model


def _resolved(**recipe: Any) -> ResolvedRecipe:
    config = CohortConfig.model_validate({"source": "s", "store": "t", "recipe": {"CT": recipe}})
    return resolve_all(config.recipe)["CT"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(str(tmp_path / "store"), cohort="one")
    write_volume(store, "volumes/a.zarr/k/t", small_scan(), attributes={})
    return store


def _request(**more: Any) -> ScanRequest:
    row = {"series_key": "k", "study_key": "s", "patient_key": "p", "version": "v", "shard": "a", "modality": "CT",
           "intensity_unit": "HU", "volume_uri": "volumes/a.zarr/k/t", "site": "north",
           "convolution_kernel": ["B70f", "3"]}  # fmt: skip
    return ScanRequest(row, **more)


def _done(store: Store, recipe: ResolvedRecipe, request: ScanRequest | None = None, attempt: str = "1") -> Any:
    row = process_scan(request or _request(), recipe=recipe, attempt=attempt, workplace=Workplace(store, device="cpu"))
    assert row["status"] == "ok", row["reason"]
    return row


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "model").mkdir()
    save_safetensors(tmp_path / "model")
    return str(tmp_path / "model")


def test_an_ensemble(store: Store, model: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    save_safetensors(tmp_path / "other")
    write_model(
        tmp_path / "other", format="monai_network", weights="model.safetensors", network=SETTINGS, version="2",
        spacing_mm=[2.5, 2.5, 2.5],
    )  # fmt: skip
    alone = _done(store, _resolved(lesions={"model": model}), attempt="1")
    both = _done(store, _resolved(lesions={"models": [model, str(tmp_path / "other")]}), attempt="2")
    assert both["lesions"][0]["model"] == "small 1 + small 2"
    assert both["lesion_volume_mm3"] != alone["lesion_volume_mm3"]


def test_a_characterising_model(store: Store, model: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    program = torch.export.export(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval(),
                                  (torch.zeros(1, 1, 4, 4, 4),))  # fmt: skip
    kinds = write_model(tmp_path / "kinds", format="torch_export", weights="model.pt2", task="characterise",
                        labels={0: "lytic", 1: "blastic"}, patch=[4, 4, 4])  # fmt: skip
    torch.export.save(program, kinds / "model.pt2")
    row = _done(store, _resolved(lesions={"model": model}, characterise={"model": str(kinds)}))
    for lesion in row["lesions"]:
        assert sum(lesion["model_class_probabilities"].values()) == pytest.approx(1)
        assert lesion["model_class"] in ("lytic", "blastic")


def test_flips(store: Store, model: str) -> None:
    plain = _done(store, _resolved(lesions={"model": model}))
    flipped = _done(store, _resolved(lesions={"model": model, "flips": True}), attempt="2")
    assert flipped["recipe_id"] != plain["recipe_id"]
    assert flipped["lesions"][0]["score_mean"] != plain["lesions"][0]["score_mean"]
    with pytest.raises(ModelError, match="knows no test-time flips"):
        _resolved(levels={"model": "builtin/ct-levels", "flips": True})


def test_overrides_by_site_and_by_kernel(store: Store, model: str) -> None:
    overrides = [
        {"when": {"site": "north"}, "lesions": {"threshold": 0.7, "options": {"fill": 1.0}}},
        {"when": {"convolution_kernel": "B70f"}, "lesions": {"threshold": 0.9}},
        {"when": {"site": "south"}, "lesions": {"threshold": 0.1}},
    ]
    recipe = _resolved(lesions={"model": model, "options": {"smooth": True}}, overrides=overrides)
    use = use_of(recipe, "lesions", _request().series)
    assert use is not None
    assert (use.threshold, use.options) == (0.9, {"fill": 1.0, "smooth": True})
    assert threshold_of(recipe, {"site": "north"}) == 0.7
    assert threshold_of(recipe, {"site": "south"}) == 0.1
    assert threshold_of(recipe, {"site": "west"}) == 0.5
    assert all(lesion["threshold"] == 0.9 and lesion["score_max"] >= 0.9 for lesion in _done(store, recipe)["lesions"])


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({"overrides": [{"when": {"kernel": "B70f"}, "lesions": {"threshold": 0.9}}]}, "'kernel' is no column"),
        ({"overrides": [{"when": {"site": "a"}, "lesions": {"treshold": 0.9}}]}, "treshold"),
        ({"overrides": [{"when": {"site": "a"}, "lesions": {"threshold": 9}}]}, "less than or equal to 1"),
        ({"levels": {"model": "builtin/ct-levels", "threshold": 0.4}}, "`threshold` means nothing under `levels`"),
        ({"lesions": {"model": "precomputed", "anchors": {"V1": "L1"}}}, "`anchors` means nothing under `lesions`"),
        ({"characterise": {"model": "x"}}, "add `lesions`"),
        ({"lesions": {"model": "x", "threshold": 0.1, "threshold_file": "t.yaml"}}, "not both"),
        ({"lesions": {"models": []}}, "at least 1 item"),
    ],
)
def test_words_that_mean_nothing(recipe: Any, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        CohortConfig.model_validate({"source": "s", "store": "t", "recipe": {"CT": recipe}})


def test_precomputed_joins_no_ensemble(model: str) -> None:
    with pytest.raises(ModelError, match="cannot join an ensemble"):
        _resolved(lesions={"models": [model, "precomputed"]})


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({"lesions": {"models": ["MODEL", "PROGRAM"]}}, "gives masks without scores; it cannot join an ensemble"),
        (
            {"levels": {"model": "builtin/ct-levels"}, "lesions": {"models": ["MODEL", "builtin/ct-lesions"]}},
            "gives masks without scores; it cannot join an ensemble",
        ),
        ({"lesions": {"model": "builtin/ct-lesions"}}, "looks inside vertebrae: add `levels`"),
        (
            {"levels": {"model": "builtin/ct-levels"}, "lesions": {"model": "builtin/ct-lesions", "region": "none"}},
            "looks inside vertebrae: leave `region: none` out",
        ),
        (
            {
                "levels": {"model": "builtin/ct-levels"}, "lesions": {"model": "builtin/ct-lesions"},
                "overrides": [{"when": {"site": "a"}, "lesions": {"region": "none"}}],
            },
            "looks inside vertebrae: leave `region: none` out",
        ),
        ({"lesions": {"model": "MODEL", "region": "levels"}}, "`region: levels` needs levels"),
        ({"lesions": {"model": "MODEL", "labels": "instances"}}, "`labels` says how to read masks of `precomputed`"),
        ({"lesions": {"model": "ONNX"}, "backend": "torch"}, "runs on OpenVINO: leave `backend: torch` out"),
    ],
)  # fmt: skip
def test_what_no_scan_could_be_done_with_is_refused_at_once(
    model: str, tmp_path: Path, recipe: Any, sentence: str
) -> None:
    program = write_model(tmp_path / "program", format="command", patch=None, command=["x", "{input}", "{output}"])
    onnx = write_model(tmp_path / "onnx", format="onnx", weights=None)
    names = {"MODEL": model, "PROGRAM": str(program), "ONNX": str(onnx)}
    text = json.dumps(recipe)
    for word, name in names.items():
        text = text.replace(f'"{word}"', json.dumps(name))
    with pytest.raises(ModelError, match=sentence) as caught:
        _resolved(**json.loads(text))
    assert "\n" not in str(caught.value)


def test_a_threshold_from_a_file(model: str, tmp_path: Path) -> None:
    file = tmp_path / "thresholds.yaml"
    file.write_text("set_on: 2026-03-01\nthreshold: 0.8\nmin_volume_mm3: 20\nnote: tune split, 1 false per scan\n")
    recipe = _resolved(lesions={"model": model, "threshold_file": str(file)})
    assert threshold_of(recipe, {}) == 0.8
    assert recipe.document["threshold_set"] == {"set_on": "2026-03-01", "note": "tune split, 1 false per scan"}
    moved = tmp_path / "elsewhere.yaml"
    file.rename(moved)
    assert _resolved(lesions={"model": model, "threshold_file": str(moved)}).recipe_id == recipe.recipe_id
    moved.write_text("threshold: 0.8\n")
    with pytest.raises(ConfigError, match=r"recipe\.CT\.lesions\.threshold_file: set_on"):
        _resolved(lesions={"model": model, "threshold_file": str(moved)})
    with pytest.raises(ConfigError, match="no such file"):
        _resolved(lesions={"model": model, "threshold_file": str(file)})


def test_where_a_model_lies_is_no_part_of_the_id(model: str, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    save_safetensors(tmp_path / "copy")
    ids = {_resolved(lesions={"model": place}).recipe_id for place in (model, str(tmp_path / "copy"))}
    assert len(ids) == 1


@pytest.fixture
def with_levels(store: Store, tmp_path: Path) -> tuple[Store, str]:
    """A mask of three unnumbered vertebrae on the scan's grid, as a file."""
    import SimpleITK as sitk

    grid = small_scan().grid
    levels = np.zeros(grid.shape, np.uint8)
    for place in range(3):
        levels[4:16, 4 + 9 * place : 11 + 9 * place, 4:24] = 101 + place
    image = sitk.GetImageFromArray(levels)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    sitk.WriteImage(image, tmp_path / "levels.nii.gz")
    return store, str(tmp_path / "levels.nii.gz")


def test_an_anchor_of_the_manifest_names_levels(with_levels: tuple[Store, str]) -> None:
    store, uri = with_levels
    plain = {"levels": {"model": "precomputed"}}
    named = {"levels": {"model": "precomputed", "anchors": {"V1": "T12"}}}
    masks: dict[str, str | None] = {"levels_uri": uri}

    def levels(recipe: Any, attempt: str, **more: str) -> tuple[list[str], str | None]:
        row = _done(store, _resolved(**recipe), _request(masks=masks | more), attempt)
        return sorted(v["level"] for v in row["vertebrae"] if v["assessed"] == "full"), row["naming_anchor"]

    assert levels(plain, "1")[0] == ["V1", "V2", "V3"]
    assert levels(plain, "2", level_anchor="V2=L3") == (["L2", "L3", "L4"], "user")
    assert levels(named, "3") == (["L1", "L2", "T12"], "user")
    assert levels(named, "4", level_anchor="V3=L1")[0] == ["L1", "T11", "T12"]
    lost = process_scan(
        _request(masks=masks | {"level_anchor": "V9=L1"}), recipe=_resolved(**plain), attempt="5",
        workplace=Workplace(store),
    )  # fmt: skip
    assert (lost["status"], lost["reason_code"]) == ("quarantined", "model_output")
    assert "V1 V2 V3" in lost["reason"]


def test_measured_again_without_a_model(store: Store, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = _resolved(lesions={"model": model, "min_volume_mm3": 30})
    first = _done(store, recipe)
    lesions = tuple({name: lesion.get(name) for name in OF_LESION} for lesion in first["lesions"])
    earlier = Earlier(first["labels_uri"], None, lesions, tuple(first["candidates"]))
    monkeypatch.setattr("pipeline.scan.process.find_lesions", None)
    again = _done(store, recipe, _request(earlier=earlier), "2")
    assert again["labels_uri"] == first["labels_uri"]
    assert again["seconds_detect"] is None
    for name in ("lesions", "candidates", "vertebrae", "n_lesions", "lesion_volume_mm3"):
        assert again[name] == first[name], name


def test_bodies_and_posterior_elements_are_stored(store: Store) -> None:
    grid = small_scan().grid
    levels = np.zeros(grid.shape, np.uint16)
    levels[4:16, 4:30, 4:24] = 20
    parts = np.zeros(grid.shape, np.uint8)
    parts[4:16, 4:20, 4:24], parts[4:16, 20:30, 4:24] = BODY, POSTERIOR
    write_labels(store, "labels/x/a.zarr/k/1", grid=grid, lesions=None, levels=levels, parts=parts)
    stored = read_stored_masks(store, "labels/x/a.zarr/k/1")
    assert stored.grid is not None
    np.testing.assert_array_equal(stored.parts, parts)
    np.testing.assert_array_equal(stored.levels, levels)
    write_labels(store, "labels/x/a.zarr/k/2", grid=grid, lesions=None, levels=levels)
    none = read_stored_masks(store, "labels/x/a.zarr/k/2")
    assert none.parts is None
    assert none.knows_parts
    assert sorted(store.list("labels/x/a.zarr/k/1")) == [
        f"labels/x/a.zarr/k/1/{name}" for name in ("levels/c/0/0/0", "levels/zarr.json", "zarr.json")
    ], "parts are no object of their own"


def test_masks_that_are_gone_are_found_again(store: Store, model: str) -> None:
    row = _done(store, _resolved(lesions={"model": model}), _request(earlier=Earlier("labels/x/a.zarr/k/9")), "3")
    assert row["n_lesions"] > 0
    assert row["labels_uri"].endswith("/3")


def test_recipes_that_find_the_same(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = _resolved(lesions={"model": model})
    typed = _resolved(lesions={"model": model}, type_rule={"dense_hu": 150}, radiomics="default")
    other = _resolved(lesions={"model": model, "threshold": 0.6})
    monkeypatch.setattr("pipeline.recipe.STAGES", STAGES | {"tally": 99})
    newer = _resolved(lesions={"model": model})
    assert len({r.recipe_id for r in (one, typed, other, newer)}) == 4
    ids = [detection_id(r.document, {}) for r in (one, typed, newer, other)]
    assert ids[0] == ids[1] == ids[2] != ids[3]


@pytest.mark.skipif(find_spec("mirp") is None, reason="the extra `radiomics` is not installed")
def test_radiomics_that_are_unknown_are_refused_before_a_scan_is_read(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="'stat_skwe' is no IBSI feature of MIRP; near it are stat_skew"):
        _resolved(lesions={"model": model}, radiomics=["stat_skwe"])
    plain, asked = _resolved(lesions={"model": model}), _resolved(lesions={"model": model}, radiomics="default")
    monkeypatch.setattr("pipeline.recipe.RADIOMICS", 99)
    assert _resolved(lesions={"model": model}).recipe_id == plain.recipe_id
    newer = _resolved(lesions={"model": model}, radiomics="default")
    assert newer.recipe_id != asked.recipe_id
    assert detection_id(newer.document, {}) == detection_id(plain.document, {})


def test_voxels_that_are_no_numbers_are_surroundings(model: str, tmp_path: Path) -> None:
    scan = small_scan()
    voxels = scan.voxels.astype(np.float32)
    lowest = voxels.min()
    with_gaps, filled = voxels.copy(), voxels.copy()
    with_gaps[:4], with_gaps[19, 0, 0] = np.nan, np.inf
    filled[:4], filled[19, 0, 0] = lowest, lowest
    rows = []
    for name, each in (("gaps", with_gaps), ("filled", filled)):
        store = Store.create(str(tmp_path / name), cohort="one")
        write_volume(store, "volumes/a.zarr/k/t", Volume(each, scan.grid), attributes={})
        rows.append(_done(store, _resolved(lesions={"model": model})))
    assert rows[0]["n_lesions"] == rows[1]["n_lesions"] > 0
    assert rows[0]["lesion_volume_mm3"] == rows[1]["lesion_volume_mm3"]
