"""A parametric phantom: CT of a spine with known truth, for training, demonstration and tests.

`anatomy` makes a whole one, `training` makes patches; `spine`, `vertebra`, `sacrum`, `skeleton` and `torso` are
shapes, `appearance` and `scanner` decide how they look, `planning` and `lesions` what is wrong with them.
"""

from pipeline.phantom.anatomy import Patient, Phantom, draw_patient, draw_phantom, render
from pipeline.phantom.appearance import Style
from pipeline.phantom.canvas import Part
from pipeline.phantom.field_of_view import Fov
from pipeline.phantom.lesions import PhantomLesion
from pipeline.phantom.training import draw_training_sample

__all__ = [
    "Fov",
    "Part",
    "Patient",
    "Phantom",
    "PhantomLesion",
    "Style",
    "draw_patient",
    "draw_phantom",
    "draw_training_sample",
    "render",
]
