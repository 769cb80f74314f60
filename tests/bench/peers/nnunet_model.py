"""In the peers' environment: a results folder of nnU-Net v2 with a small network, taught for seconds to bin HU.

python nnunet_model.py FOLDER CLASSES FEATURES PATCH
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

SPACING = 2.0
HU = (-1000.0, 1000.0)


def main(folder: Path, classes: int, features: int, patch: int) -> None:
    """Write FOLDER/{plans.json, dataset.json, fold_0/checkpoint_final.pth}."""
    os.environ |= {name: str(folder) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    torch.manual_seed(0)
    plans = small_plans(features, patch)
    labels = {"background": 0} | {f"class{i}": i for i in range(1, classes)}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    trainer = nnUNetTrainer({**plans, "continue_training": False}, "3d_fullres", 0, dataset, device=torch.device("cpu"))
    network = plans["configurations"]["3d_fullres"]["architecture"]
    trainer.network = get_network_from_plans(
        network["network_class_name"], network["arch_kwargs"], network["_kw_requires_import"], 1, classes,
        deep_supervision=True,
    )  # fmt: skip
    trainer.optimizer, _ = trainer.configure_optimizers()
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    _teach(trainer.network, classes)
    trainer.optimizer.state.clear()
    trainer.save_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))


def small_plans(features: int, patch: int, *, mm: float = SPACING, stages: int = 4) -> dict[str, Any]:
    """As nnU-Net's planner writes them for an isotropic CT, with fewer features."""
    spacing, widths = [mm] * 3, [min(features * 2**i, 10 * features) for i in range(stages)]
    linear = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
        "patch_size": [patch] * 3, "median_image_size_in_voxels": [100.0, 100.0, 100.0], "spacing": spacing,
        "normalization_schemes": ["CTNormalization"], "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {**linear, "order": 3},
        "resampling_fn_seg_kwargs": {**linear, "is_seg": True},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": linear, "batch_dice": False,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": stages, "features_per_stage": widths,
                "conv_op": "torch.nn.modules.conv.Conv3d", "kernel_sizes": [[3, 3, 3]] * stages,
                "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1), "n_conv_per_stage": [2] * stages,
                "n_conv_per_stage_decoder": [2] * (stages - 1), "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }  # fmt: skip
    known = {"max": 3000.0, "mean": 0.0, "median": 0.0, "min": -1024.0, "std": 400.0}
    return {
        "dataset_name": "Dataset900_bench", "plans_name": "nnUNetPlans", "experiment_planner_used": "ExperimentPlanner",
        "original_median_spacing_after_transp": spacing, "original_median_shape_after_transp": [100, 100, 100],
        "image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager",
        "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "foreground_intensity_properties_per_channel": {
            "0": known | {"percentile_00_5": HU[0], "percentile_99_5": HU[1]}
        },
    }  # fmt: skip


def _teach(network: torch.nn.Module, classes: int, steps: int = 15) -> None:
    """Towards the bin of HU that the smoothed neighbourhood lies in, on smooth noise."""
    optimiser = torch.optim.Adam(network.parameters(), 0.003)
    network.train()
    for _ in range(steps):
        coarse = torch.randn(1, 1, 9, 9, 9) * 1.2
        values = torch.nn.functional.interpolate(coarse, size=(32, 32, 32), mode="trilinear")
        target = ((values[:, 0] + 2.5) / 5 * classes).long().clamp(0, classes - 1)
        scores = network(values)
        loss = torch.nn.functional.cross_entropy(scores[0] if isinstance(scores, list) else scores, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(word) for word in sys.argv[2:5]))
