from __future__ import annotations

from typing import Any

import pytest

from pipeline.dicom.sequence import sequence_of

SPIN, GRADIENT = {"ScanningSequence": ["SE"]}, {"ScanningSequence": ["GR"]}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({**SPIN, "RepetitionTime": 550.0, "EchoTime": 11.0}, "T1"),
        ({**SPIN, "RepetitionTime": 550.0, "EchoTime": 11.0, "ContrastBolusAgent": "Gd"}, "T1+C"),
        ({**SPIN, "RepetitionTime": 3500.0, "EchoTime": 100.0}, "T2"),
        ({**SPIN, "RepetitionTime": 3500.0, "EchoTime": 15.0}, "PD"),
        ({**SPIN, "RepetitionTime": 4000.0, "EchoTime": 60.0, "InversionTime": 160.0}, "STIR"),
        ({**SPIN, "RepetitionTime": 9000.0, "EchoTime": 120.0, "InversionTime": 2500.0}, "FLAIR"),
        ({**GRADIENT, "RepetitionTime": 500.0, "EchoTime": 18.0}, "T2*"),
        ({**GRADIENT, "RepetitionTime": 8.0, "EchoTime": 3.0}, "T1"),
        ({"DiffusionBValue": 800.0, "RepetitionTime": 5000.0, "EchoTime": 80.0}, "DWI"),
        ({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, "DWI"),
        ({"SeriesDescription": "sag T2 TSE"}, "T2"),
        ({"SeriesDescription": "T2* gre"}, "T2*"),
        ({"SeriesDescription": "t1_tse_sag"}, "T1"),
        ({"SeriesDescription": "survey"}, None),
        ({}, None),
    ],
)
def test_the_class_and_its_rule(attributes: dict[str, Any], expected: str | None) -> None:
    sequence_class, rule = sequence_of(attributes)
    assert sequence_class == expected
    assert (rule is None) == (expected is None)
