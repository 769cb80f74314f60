"""Make the small nnU-Net results folders of the tests again, and what nnunetv2 itself predicts with them.

    python -m tests.pipeline.models.make_nnunet_golden CT.nii.gz FOLDER

needs nnunetv2 2.8 (in an environment of its own, or beside the tests' packages by `pip install --no-deps --target`).
nnU-Net plans both configurations from a CT and a mirrored copy of it (label: bone), its own network is taught for some
seconds, saved as its own checkpoint, and run by its own predictor, on a CPU, without mirroring.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

CASES: dict[str, dict[str, Any]] = {
    "plain": {"spacing": [2.5, 2.8, 2.8], "planner": "ExperimentPlanner", "folds": 2},
    "residual": {"spacing": [9.0, 2.0, 2.0], "planner": "nnUNetPlannerResEncM", "folds": 1},
}
"""Cubic resampling everywhere; and slices so thick that z is resampled apart."""

BONE_HU = 180


def main(ct: Path, folder: Path) -> None:
    """Write FOLDER/<case>/{plans.json, dataset.json, fold_*/checkpoint_final.pth, segmentation.npz}."""
    work = Path(tempfile.mkdtemp())
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[variable] = str(work / variable)
        (work / variable).mkdir()
    torch.manual_seed(0)
    for number, (name, case) in enumerate(CASES.items(), 901):
        dataset = f"Dataset{number}_{name}"
        _write_dataset(work / "nnUNet_raw" / dataset, sitk.ReadImage(ct))
        plans = _planned(dataset, case)
        target = folder / name
        shutil.rmtree(target, ignore_errors=True)
        _teach(plans, work / "nnUNet_raw" / dataset / "dataset.json", target, case["folds"], sitk.ReadImage(ct))
        np.savez_compressed(target / "segmentation.npz", segmentation=_predicted(target, ct, case["folds"]))
    shutil.rmtree(work)


def _write_dataset(folder: Path, image: sitk.Image) -> None:
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for name, one in (("a", image), ("b", sitk.Flip(image, (True, False, False)))):
        sitk.WriteImage(one, folder / "imagesTr" / f"{name}_0000.nii.gz")
        sitk.WriteImage(sitk.Cast(one > BONE_HU, sitk.sitkUInt8), folder / "labelsTr" / f"{name}.nii.gz")
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "lesion": 1}, "numTraining": 2}
    (folder / "dataset.json").write_text(json.dumps(content | {"file_ending": ".nii.gz"}))


def _planned(dataset: str, case: dict[str, Any]) -> dict[str, Any]:
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner
    from nnunetv2.experiment_planning.experiment_planners.residual_unets import residual_encoder_unet_planners

    DatasetFingerprintExtractor(dataset, num_processes=1).run()
    for module in (default_experiment_planner, residual_encoder_unet_planners):
        if planner_class := getattr(module, case["planner"], None):
            planner = planner_class(dataset, gpu_memory_target_in_gb=1, overwrite_target_spacing=case["spacing"])
    planner.UNet_base_num_features, planner.UNet_max_features_3d = 4, 12
    plans: dict[str, Any] = planner.plan_experiment()
    kept = {"3d_fullres": plans["configurations"]["3d_fullres"]}
    kept["3d_fullres"]["patch_size"] = [32, 32, 32] if case["folds"] > 1 else [8, 48, 48]
    return json.loads(json.dumps({**plans, "configurations": kept}, default=float))


def _teach(plans: dict[str, Any], dataset: Path, target: Path, folds: int, image: sitk.Image) -> None:
    """A few steps towards bone on random windows; then a checkpoint by nnU-Net's own trainer class."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    settings = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    stages = 3
    for key in ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage"):
        if key in settings:
            settings[key] = [1] * stages if key.startswith("n_") else settings[key][:stages]
    settings |= {"n_stages": stages, "n_conv_per_stage_decoder": [1] * (stages - 1)}
    target.mkdir(parents=True)
    (target / "plans.json").write_text(json.dumps(plans))
    shutil.copy(dataset, target / "dataset.json")
    for fold in range(folds):
        content = json.loads(dataset.read_text())
        trainer = nnUNetTrainer(
            {**plans, "continue_training": False}, "3d_fullres", fold, content, device=torch.device("cpu")
        )
        architecture = plans["configurations"]["3d_fullres"]["architecture"]
        trainer.network = get_network_from_plans(
            architecture["network_class_name"], settings, architecture["_kw_requires_import"], 1, 2,
            deep_supervision=True,
        )  # fmt: skip
        trainer.optimizer, _ = trainer.configure_optimizers()
        trainer.inference_allowed_mirroring_axes = (0, 1, 2)
        _descend(trainer.network, plans, sitk.GetArrayFromImage(image).astype(np.float32))
        (target / f"fold_{fold}").mkdir()
        trainer.optimizer.state.clear()
        trainer.save_checkpoint(str(target / f"fold_{fold}" / "checkpoint_final.pth"))


def _descend(network: torch.nn.Module, plans: dict[str, Any], voxels: np.ndarray, steps: int = 120) -> None:
    size = plans["configurations"]["3d_fullres"]["patch_size"]
    known = plans["foreground_intensity_properties_per_channel"]["0"]
    values = (np.clip(voxels, known["percentile_00_5"], known["percentile_99_5"]) - known["mean"]) / known["std"]
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    network.train()
    for _ in range(steps):
        z, y, x = (int(torch.randint(n - s + 1, ())) for n, s in zip(voxels.shape, size, strict=True))
        box = np.s_[z : z + size[0], y : y + size[1], x : x + size[2]]
        scores = network(torch.from_numpy(values[box])[None, None])
        scores = scores[0] if isinstance(scores, list | tuple) else scores
        loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(voxels[box] > BONE_HU)[None].long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def _predicted(folder: Path, ct: Path, folds: int) -> np.ndarray:
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_gaussian=True, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folder), tuple(range(folds)), "checkpoint_final.pth")
    image, properties = SimpleITKIO().read_images([str(ct)])
    return np.asarray(predictor.predict_single_npy_array(image, properties, None, None, False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
