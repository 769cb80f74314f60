"""What a network makes of each lesion, and what it cannot make of it: one line each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError, ScanError
from pipeline.masks import LesionMask
from pipeline.models.registry import load_characteriser
from schemas.reasons import Reason
from tests.pipeline.models.networks import small_scan, write_model


def _folder(folder: Path, **changes: object) -> str:
    """A network from the image and the mask of a lesion to two classes."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * 4**3, 2)).eval()
    torch.export.save(torch.export.export(network, (torch.zeros(1, 2, 4, 4, 4),)), folder / "m.pt2")
    spec: dict[str, object] = {"task": "characterise", "labels": {0: "lytic", 1: "blastic"}, "patch": [4, 4, 4]}
    spec |= {"options": {"channels": 2}}
    return str(write_model(folder, format="torch_export", weights="m.pt2", **(spec | changes)))


def _lesions() -> LesionMask:
    """One in a corner of the scan, one in its middle."""
    instances = np.zeros(small_scan().grid.shape, np.uint16)
    instances[0, 0, 0], instances[8:11, 15:18, 12:15] = 1, 2
    return LesionMask(instances)


def test_a_share_for_each_class(tmp_path: Path) -> None:
    found = load_characteriser(_folder(tmp_path)).characterise(small_scan(), _lesions(), modality="CT").model_class
    assert found is not None
    assert [set(each) for each in found] == [{"lytic", "blastic"}] * 2
    assert [sum(each.values()) for each in found] == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"options": {"channels": 1}}, r"does not run on patches \[1, 1, 4, 4, 4\]: .*options: \{channels"),
        ({"labels": {0: "a", 1: "b", 2: "c"}}, "gives 2 classes, and its model.yaml names class 2: the first one is 0"),
        ({"activation": "none", "intensity": {"divide": 0.1}}, "`activation: none`, for probabilities"),
    ],
)
def test_what_cannot_be(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    model = load_characteriser(_folder(tmp_path, **changes))
    with pytest.raises(ScanError, match=sentence) as caught:
        model.characterise(small_scan(), _lesions(), modality="CT")
    assert caught.value.reason == Reason.MODEL_OUTPUT
    assert "\n" not in caught.value.sentence


def test_two_classes_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gives two classes one name"):
        load_characteriser(_folder(tmp_path, labels={0: "lytic", 1: "lytic"}))
