"""nnU-Net v2 results folders.

- `plans`: what the folder says
- `networks`: the U-Nets that it plans
- `preprocessing`: its way to its grid and back
- `model`: all of that as a `Predictor`
"""

from pipeline.models.formats.nnunet.model import open_model

__all__ = ["open_model"]
