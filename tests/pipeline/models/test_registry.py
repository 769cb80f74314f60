"""Where models come from, what they may do when they are opened, and the devices they run on."""

from __future__ import annotations

import io
import json
import pickle
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.masks import LesionMask
from pipeline.models.device import choose_backend, choose_device, clocked, occupy
from pipeline.models.ensemble import Ensemble
from pipeline.models.files import CACHE_VARIABLE, digest_of
from pipeline.models.predictor import LesionSettings
from pipeline.models.registry import find_spec, known_models, load, load_characteriser
from schemas.config import ModelUse
from tests.pipeline.models.networks import (
    SETTINGS,
    save_export,
    save_safetensors,
    save_torchscript,
    small_scan,
    write_model,
)
from tests.servers import ObjectStorage


def test_models_without_files_are_there() -> None:
    assert {"precomputed", "threshold"} <= set(known_models())
    assert find_spec("precomputed")[0].format == "precomputed"
    with pytest.raises(ModelError, match="no network"):
        load("precomputed")


def test_settings_are_completed_by_the_model(tmp_path: Path) -> None:
    save_safetensors(tmp_path)
    spec = find_spec(str(tmp_path))[0].model_copy(update={"threshold": 0.3})
    settings = LesionSettings.of(ModelUse(model="x", min_volume_mm3=5), spec, suv_factor=0.1)
    assert (settings.threshold, settings.min_volume_mm3, settings.suv_factor) == (0.3, 5, 0.1)


def test_a_folders_digest_is_its_contents(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "a").write_text("1")
        (folder / "b").write_text("2")
    assert digest_of(one) == digest_of(other)
    (other / "b").rename(other / "c")
    assert digest_of(one) != digest_of(other)


def test_from_object_storage(tmp_path: Path, object_storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    save_safetensors(folder)
    options = object_storage.storage_options
    fs = object_storage.filesystem()
    address = f"{object_storage.new_bucket()}/models/small"
    for file in folder.iterdir():
        fs.pipe_file(f"{address}/{file.name}", file.read_bytes())
    uri = f"s3://{address}"
    assert find_spec(uri, storage_options=options) == find_spec(str(folder))
    there, here = (
        load(name, storage_options=options).lesions(small_scan(), modality="CT", within=None, settings=LesionSettings())
        for name in (uri, str(folder))
    )
    np.testing.assert_array_equal(there.instances, here.instances)
    with pytest.raises(ModelError, match=r"neither a folder .* with a model\.yaml"):
        find_spec(uri + "-not", storage_options=options)
    monkeypatch.setenv("TALLY_MODEL_SECRET", options["secret"])
    assert find_spec(uri, storage_options=options | {"secret": "$TALLY_MODEL_SECRET"}) == find_spec(str(folder))
    write_model(folder, format="monai_network", weights="model.safetensors", network=SETTINGS, version="2")
    fs.pipe_file(f"{address}/model.yaml", (folder / "model.yaml").read_bytes())
    assert find_spec(uri, storage_options=options) == find_spec(str(folder)), "of the same size, and new"
    left = [path.name for path in (tmp_path / "cache" / "models").iterdir() if len(path.name) != 64]
    assert left == [], "copies that were not finished"


def test_torchscript_needs_trust(tmp_path: Path) -> None:
    save_torchscript(tmp_path)
    with pytest.raises(ModelError, match="trust: true"):
        load(str(tmp_path))


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("import pathlib; pathlib.Path('evil').touch()",))


def _rewritten(path: Path, change: dict[str, bytes]) -> None:
    """The archive with some members replaced or added."""
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].partition("/")[0]
        content = {name: archive.read(name) for name in archive.namelist()}
    content |= {f"{root}/{name}": data for name, data in change.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def _pickled() -> bytes:
    file = io.BytesIO()
    torch.save(_Evil(), file)
    return file.getvalue()


@pytest.mark.parametrize("case", ["sample_inputs", "use_pickle", "operator", "expression", "extra"])
def test_an_export_that_could_run_code_needs_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.chdir(tmp_path)
    save_export(tmp_path)
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].partition("/")[0]
        graph = archive.read(f"{root}/models/model.json").decode()
        weights = json.loads(archive.read(f"{root}/data/weights/model_weights_config.json"))
    next(iter(weights["config"].values()))["use_pickle"] = True
    changes = {
        "sample_inputs": {"data/sample_inputs/model.pt": _pickled()},
        "use_pickle": {
            "data/weights/model_weights_config.json": json.dumps(weights).encode(),
            "data/weights/weight_0": _pickled(),
        },
        "operator": {"models/model.json": graph.replace("torch.ops.aten.convolution", "torch.os.system").replace(
            "torch.ops.aten.conv3d", "torch.os.system").encode()},
        "expression": {"models/model.json": graph.replace(
            '{"as_int": 16}', '{"as_expr": {"expr_str": "__import__(\'os\').getcwd()", "hint": null}}', 1).encode()},
        "extra": {"data/constants/opaque_obj_0": pickle.dumps(_Evil())},
    }  # fmt: skip
    _rewritten(path, changes[case])
    with pytest.raises(ModelError, match="could run code"):
        load(str(tmp_path))
    assert not (tmp_path / "evil").exists()


def test_a_torn_export_is_one_line(tmp_path: Path) -> None:
    save_export(tmp_path)
    content = (tmp_path / "model.pt2").read_bytes()
    (tmp_path / "model.pt2").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"no torch\.export archive"):
        load(str(tmp_path))


def test_ensemble_averages_scores(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_safetensors(tmp_path / name)
    text = (tmp_path / "b" / "model.yaml").read_text()
    (tmp_path / "b" / "model.yaml").write_text(text.replace("divide: 250", "divide: 100"))
    members = [load(str(tmp_path / name)) for name in ("a", "b")]
    scan, settings = small_scan(), LesionSettings(threshold=0.5)
    scores = [m.scores(scan, modality="CT", within=None, settings=settings) for m in members]  # type: ignore[attr-defined]
    assert np.abs(scores[0].astype(int) - scores[1]).max() > 1000
    found = Ensemble(members).lesions(scan, modality="CT", within=None, settings=settings)
    np.testing.assert_array_equal(found.instances > 0, (scores[0].astype(float) + scores[1]) / 2 >= 32767.5)
    with pytest.raises(ModelError, match="at least one"):
        Ensemble([])
    with pytest.raises(ModelError, match="without scores"):
        Ensemble([load("threshold")]).lesions(scan, modality="PT", within=None, settings=settings)


def test_characterise(tmp_path: Path) -> None:
    """Two lesions, one bright, one dark; the network looks at the mean of its patch."""
    head = torch.nn.Sequential(torch.nn.AvgPool3d(4), torch.nn.Flatten(), torch.nn.Linear(1, 2)).eval()
    with torch.no_grad():
        head[2].weight.copy_(torch.tensor([[-9.0], [9.0]]))
        head[2].bias.zero_()
    program = torch.export.export(head, (torch.randn(1, 1, 4, 4, 4),))
    torch.export.save(program, tmp_path / "model.pt2")
    spec = {"task": "characterise", "labels": {0: "lytic", 1: "blastic"}, "patch": [4, 4, 4]}
    write_model(tmp_path, format="torch_export", weights="model.pt2", **spec)
    scan = small_scan()
    instances = np.zeros(scan.grid.shape, np.uint16)
    for number, place in enumerate((scan.voxels.argmin(), scan.voxels.argmax()), 1):
        z, y, x = np.unravel_index(place, scan.voxels.shape)
        instances[z, y, x] = number
    model = load_characteriser(str(tmp_path))
    kinds = model.characterise(scan, LesionMask(instances), modality="CT").model_class
    assert kinds is not None
    assert [max(kind, key=lambda name: kind[name]) for kind in kinds] == ["lytic", "blastic"]
    assert all(sum(kind.values()) == pytest.approx(1) for kind in kinds)
    assert model.characterise(scan, LesionMask(np.zeros_like(instances)), modality="CT").model_class == []
    with pytest.raises(ModelError, match="characterises lesions that others found"):
        load(str(tmp_path))


def test_one_at_a_time_on_a_device_and_waiting_is_counted() -> None:
    inside, together, waits = threading.Semaphore(1), [], []

    def work() -> None:
        with clocked() as clock:
            with occupy("cpu"):
                together.append(not inside.acquire(blocking=False))
                time.sleep(0.05)
                inside.release()
            waits.append((clock.wait_s, clock.busy_s))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(together)
    assert max(wait for wait, _ in waits) > 0.08
    assert all(busy > 0.04 for _, busy in waits)


def test_backend_by_kind_of_device() -> None:
    assert choose_backend("auto", torch.device("cpu")) == "openvino"
    assert choose_backend("auto", torch.device("cuda:0")) == "torch"
    with pytest.raises(ModelError, match="does not run on cuda"):
        choose_backend("openvino", torch.device("cuda:0"))
    with pytest.raises(ModelError, match="there are: auto, cpu"):
        choose_device("tpu")
