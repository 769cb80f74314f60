"""`builtin/ct-levels`: vertebrae of a CT told apart by a small network, and named only where anchors agree.

`fields` runs the network, `chain` finds the vertebrae in order, `assign` gives each its voxels, `anchors` names them,
`restore` brings them to the scan's grid.
"""

from pipeline.models.builtin.ct_levels.predictor import CtLevels, open_model

__all__ = ["CtLevels", "open_model"]
