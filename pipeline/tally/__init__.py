"""Masks to numbers: every lesion measured, placed on a level and typed; every level of the spine with its share.

    plane        the slices in which diameters are taken
    diameters    long axis, short axis and 3-D Feret diameter
    reference    normal bone of the scan: erosion, median, deviation
    intensity    HU, SUV and z-scores of a lesion
    density      lytic, blastic, mixed: the versioned rule
    place        levels and parts that a lesion lies in
    lesions      one row per lesion, and the level of each candidate
    vertebrae    one row per level
    radiomics    IBSI features, where the recipe asks for them
    scan         all of it for one scan: `tally_scan`

All lengths are in millimetres on the grid of the source; nothing is resampled. Only crops around a label are touched
after one look at the whole mask. What was not looked at is None.
"""

from pipeline.tally.density import type_rule_id
from pipeline.tally.radiomics import check_features
from pipeline.tally.scan import tally_scan

__all__ = ["check_features", "tally_scan", "type_rule_id"]
