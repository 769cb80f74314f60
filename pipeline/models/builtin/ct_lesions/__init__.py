"""`builtin/ct-lesions`: where the inside of a vertebra is denser or less dense than the same scan leads to expect.

`bone` lays HU and levels on a common grid, `reference` says what is expected there, `deviation` measures the
difference at several scales, `grow` makes lesions of it and scores them. Nothing is learned.
"""

from pipeline.models.builtin.ct_lesions.predictor import CtLesions, open_model

__all__ = ["CtLesions", "open_model"]
