"""`builtin/ct-lesions`: where the inside of a vertebra is denser or less dense than the same scan leads to expect.

`bone` lays HU and levels on a common grid, `reference` says what is expected there, `deviation` measures the difference
at several scales, `propose` cuts places out of it, `describe` puts each into numbers, `score` says from these how
likely it is a lesion, and `choose` keeps the best of those that overlap. Only `score` is fitted.
"""

from pipeline.models.builtin.ct_lesions.predictor import CtLesions, open_model

__all__ = ["CtLesions", "open_model"]
