"""Versions of the algorithms, stage by stage: constants that enter every `recipe_id` or `ingest_id`.

A number goes up when the stage gives other figures for the same input; golden tests hold the figures, so that it is not
forgotten. A speed-up that changes nothing leaves it alone.
"""

DECODER = 2
"""Enters `ingest_id`: what turns files into voxels."""

HEADERS = 3
"""Of the records in `private/index`: what index reads of a file; those of another version are read again."""

PREPROCESS = 3
"""Resampling and normalising."""

DETECT = 3
"""Sliding window, blending, thresholds, components."""

TALLY = 3
"""Measuring and placing; when only this changes, results can be made again from stored labels."""

RADIOMICS = 2
"""Features of lesions; enters the `recipe_id` of those recipes alone that ask for them."""

STAGES: dict[str, int] = {"preprocess": PREPROCESS, "detect": DETECT, "tally": TALLY}
"""What enters every `recipe_id`."""
