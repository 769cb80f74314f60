"""A folder of CTs through a MONAI network as MONAI's tutorials do it.

python -m tests.bench.peers.monai_tutorial MODEL_FOLDER INPUT OUTPUT
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import safetensors.torch
import torch
import yaml
from monai.data import DataLoader, Dataset, decollate_batch
from monai.inferers import SlidingWindowInferer
from monai.networks import nets
from monai.transforms import (
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Orientationd,
    SaveImaged,
    ScaleIntensityRanged,
    Spacingd,
)


def main(model: Path, source: Path, target: Path) -> None:
    """Write a segmentation for each CT."""
    warnings.simplefilter("ignore")
    spec = yaml.safe_load((model / "model.yaml").read_text())
    network = dict(spec["network"])
    module = getattr(nets, network.pop("class"))(spatial_dims=3, **network)
    weights = safetensors.torch.load_file(model / spec["weights"])
    # ours see z, y, x; MONAI's own arrays have x, y, z
    module.load_state_dict({k: w.permute(0, 1, 4, 3, 2) if w.ndim == 5 else w for k, w in weights.items()})
    module.eval()
    low, high = spec["intensity"]["clip"]
    scale = spec["intensity"]["divide"]
    before = Compose(
        [
            LoadImaged(keys="image"),
            EnsureChannelFirstd(keys="image"),
            Orientationd(keys="image", axcodes="RAS", labels=None),
            Spacingd(keys="image", pixdim=spec["spacing_mm"], mode="bilinear"),
            ScaleIntensityRanged(keys="image", a_min=low, a_max=high, b_min=low / scale, b_max=high / scale, clip=True),
        ]
    )
    after = Compose(
        [
            Invertd(keys="pred", transform=before, orig_keys="image", nearest_interp=False, to_tensor=True),
            AsDiscreted(keys="pred", argmax=True),
            SaveImaged(keys="pred", output_dir=target, output_postfix="", separate_folder=False, print_log=False),
        ]
    )
    inferer = SlidingWindowInferer(roi_size=spec["patch"], sw_batch_size=1, overlap=0.5, mode="gaussian")
    scans = Dataset([{"image": str(path)} for path in sorted(source.glob("*.nii.gz"))], before)
    with torch.no_grad():
        for batch in DataLoader(scans, batch_size=1, num_workers=0):
            batch["pred"] = inferer(batch["image"], module)
            for one in decollate_batch(batch):
                after(one)


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:4]))
