"""What is stored of a scan under one recipe: a row of `results/` with its lesions, candidates and vertebrae in it."""

from __future__ import annotations

import pyarrow as pa

from schemas.catalog import KEYS
from schemas.columns import DOUBLES, INTEGERS, TIME, column

DIAMETER_CONVENTION = "skimage_feret"
"""Diameters are Feret diameters of the mask's outline at half a voxel outside the voxel centres, along each axis by its
own spacing (as scikit-image 0.26 `feret_diameter_max`), not centre to centre and not corner to corner."""

_HU = {
    "mean": "Mean",
    "sd": "Standard deviation",
    "min": "Minimum",
    "max": "Maximum",
    "p10": "10th percentile",
    "p25": "25th percentile",
    "p50": "Median",
    "p75": "75th percentile",
    "p90": "90th percentile",
}

LESION = pa.struct(
    [
        column("lesion_id", pa.int32(), "Value of the lesion in the mask `lesions`, 1 and up.", required=True),
        # Place
        column("level", pa.string(), "Level with the largest share of it; `none` outside all; NULL without levels."),
        column("level_fraction", pa.float64(), "Share of its voxels in that level.", "1"),
        column("level2", pa.string(), "Level with the second largest share; NULL where there is none."),
        column("level2_fraction", pa.float64(), "Share of its voxels in the second level.", "1"),
        column("compartment", pa.string(), "body, posterior or both; NULL where the model does not tell them apart."),
        column("body_fraction", pa.float64(), "Share of its voxels in the vertebral body.", "1"),
        column("involved_body_fraction", pa.float64(), "Share of the level's body that the lesion takes.", "1"),
        column("centroid_mm", DOUBLES, "Mean of its voxel centres as x, y, z, LPS.", "mm"),
        column("bbox", INTEGERS, "[z0, y0, x0, z1, y1, x1), half-open array indices.", "voxels"),
        # Kind
        column("lesion_type", pa.string(), "lytic, blastic, mixed or indeterminate, by `type_rule_id`; NULL off CT."),
        column("type_rule_id", pa.string(), "The rule and constants that gave the type."),
        column("model_class", pa.string(), "Class given by a characterising model."),
        column("model_class_probabilities", pa.map_(pa.string(), pa.float64()), "Its probabilities by class.", "1"),
        column("frac_dense", pa.float64(), "Share of voxels above the scan's trabecular reference.", "1"),
        column("frac_lucent", pa.float64(), "Share of voxels below the scan's trabecular reference.", "1"),
        column("enostosis_flag_mean885", pa.bool_(), "Mean of 885 HU and more (Ulano 2016); a feature, no diagnosis."),
        column("enostosis_flag_max1060", pa.bool_(), "Maximum of 1060 HU and more (Ulano 2016); no diagnosis."),
        # Size
        column("n_voxels", pa.int64(), "Voxels in the mask.", "voxels"),
        column("volume_mm3", pa.float64(), "Voxels times voxel volume (DCM 126030); NULL in 2-D.", "mm3"),
        column("area_mm2", pa.float64(), "Pixels times pixel area in 2-D; else of the slice of the long axis.", "mm2"),
        column("long_axis_mm", pa.float64(), f"Longest diameter in one slice ({DIAMETER_CONVENTION}).", "mm"),
        column("short_axis_mm", pa.float64(), "Widest extent across the long axis, in its slice.", "mm"),
        column(
            "diameter_plane", pa.string(), "Plane of the slices: axial, sagittal, coronal, or oblique and its degrees."
        ),
        column("diameter_slice", pa.int32(), "Index of the slice along that axis.", "voxels"),
        column("long_axis_ends_mm", DOUBLES, "The two ends of the long axis, x, y, z and x, y, z, LPS.", "mm"),
        column("short_axis_ends_mm", DOUBLES, "The two ends of the short axis, likewise.", "mm"),
        column(
            "axial_long_axis_mm", pa.float64(), "The long axis where the plane is within 30 degrees of axial.", "mm"
        ),
        column("feret_3d_mm", pa.float64(), "Largest diameter in three dimensions.", "mm"),
        column("sphere_diameter_mm", pa.float64(), "Diameter of the sphere of its volume, (6 V / pi)^(1/3).", "mm"),
        column("measurable_recist", pa.bool_(), "RECIST 1.1; NULL without a soft-tissue mask."),
        # Intensity
        column("intensity_unit", pa.string(), "Unit of the statistics: HU, SUVbw, z, arbitrary."),
        *[column(f"hu_{name}", pa.float64(), f"{text} of its HU (CT only).", "HU") for name, text in _HU.items()],
        column("suv_max", pa.float64(), "Largest SUVbw.", "g/mL"),
        column("suv_mean", pa.float64(), "Mean SUVbw.", "g/mL"),
        column(
            "suv_peak", pa.float64(), "Mean SUVbw of the 1 mL sphere placed for the highest mean (PERCIST).", "g/mL"
        ),
        column("mtv_ml", pa.float64(), "Metabolic volume of the mask.", "mL"),
        column("tlg_g", pa.float64(), "suv_mean times mtv_ml.", "g"),
        column("z_mean", pa.float64(), "Mean z-score against normal vertebrae of the scan (MR, NM).", "1"),
        column("z_max", pa.float64(), "Largest z-score.", "1"),
        # Trust
        column("score_max", pa.float64(), "Largest score of its voxels, 0 to 1; NULL for masks without scores.", "1"),
        column("score_mean", pa.float64(), "Mean score of its voxels.", "1"),
        column("threshold", pa.float64(), "Threshold that made it a lesion.", "1"),
        column("model", pa.string(), "Name and version of the model."),
        column("touches_edge", pa.bool_(), "Touches a face of the volume."),
        column("in_metal", pa.bool_(), "Holds or touches metal (over 3000 HU)."),
        column("partial_volume", pa.bool_(), "Fewer than eight voxels: its figures are rough."),
        column("mask_volume_change", pa.float64(), "Volume after resampling a mask over that before, less 1.", "1"),
        column("features", pa.map_(pa.string(), pa.float64()), "Radiomics by IBSI name, where the recipe asks for it."),
    ]
)
"""One lesion: a candidate under the recipe's rules, never a diagnosis."""

CANDIDATE = pa.struct(
    [
        column("score_max", pa.float64(), "Largest score.", "1"),
        column("score_mean", pa.float64(), "Mean score.", "1"),
        column("centroid_mm", DOUBLES, "x, y, z, LPS.", "mm"),
        column("bbox", INTEGERS, "[z0, y0, x0, z1, y1, x1), half-open.", "voxels"),
        column("volume_mm3", pa.float64(), "Volume.", "mm3"),
        column("level", pa.string(), "Level with the largest share."),
        column("why_not", pa.string(), "threshold or min_volume: what kept it from being a lesion."),
    ]
)
"""What was seen and did not become a lesion; for other thresholds and FROC curves without the network."""

VERTEBRA = pa.struct(
    [
        column("level", pa.string(), "C1 ... SACRUM, V1 ... unnumbered, or `none` for lesions outside.", required=True),
        column("assessed", pa.string(), "full, partial, absent or unknown.", required=True),
        column("n_lesions", pa.int32(), "Lesions whose primary level this is; NULL where not looked at."),
        column("lesion_load_mm3", pa.float64(), "Lesion volume inside it, shared by fraction.", "mm3"),
        column("vertebra_volume_mm3", pa.float64(), "Volume of its mask.", "mm3"),
        column("body_volume_mm3", pa.float64(), "Volume of its body.", "mm3"),
        column("burden", pa.float64(), "lesion_load_mm3 over vertebra_volume_mm3.", "1"),
        column("centroid_mm", DOUBLES, "Mean of its voxel centres, x, y, z, LPS.", "mm"),
        column("dominant_type", pa.string(), "Lesion type with the largest load."),
        column("trabecular_hu", pa.float64(), "Median HU of its eroded interior without lesions.", "HU"),
        column("posterior_involvement", pa.string(), "none, unilateral, bilateral; NULL where it cannot be told."),
        column("body_involved_fraction", pa.float64(), "Share of the body taken by lesions.", "1"),
        column("height_ratio", pa.float64(), "Body height over the mean of its assessed neighbours'.", "1"),
    ]
)
"""One level of one scan."""

RESULTS = pa.schema(
    [
        *KEYS,
        column("recipe_id", pa.string(), "Hash of everything that can change a number.", required=True),
        column("version", pa.string(), "Version of the series.", required=True),
        column("given_id", pa.string(), "Hash of masks and level names that the manifest gave; NULL where none count."),
        column("shard", pa.string(), "Shard of the plan.", required=True),
        column("attempt", pa.string(), "Which attempt wrote the row; sorts by time.", required=True),
        column("modality", pa.string(), "DICOM modality."),
        column("site", pa.string(), "Site of the scan."),
        column("status", pa.string(), "ok, failed or quarantined.", required=True),
        column("reason_code", pa.string(), "A word of schemas.reasons."),
        column("reason", pa.string(), "The same as a sentence."),
        column("n_lesions", pa.int32(), "Lesions; NULL where not looked for."),
        column("lesion_volume_mm3", pa.float64(), "Sum of their volumes.", "mm3"),
        column("n_levels_assessed", pa.int32(), "Levels assessed in full; NULL without levels."),
        column("naming_anchor", pa.string(), "What the names of levels rest on: sacrum, ribs, C2; NULL if unnumbered."),
        column("trabecular_hu", pa.float64(), "Median HU of unaffected trabecular bone of the scan.", "HU"),
        column("trabecular_mad_hu", pa.float64(), "Its median absolute deviation.", "HU"),
        column("labels_uri", pa.string(), "Group with `lesions` and `levels`, relative to the store."),
        column("seconds_read", pa.float64(), "Reading the volume.", "s"),
        column("seconds_preprocess", pa.float64(), "Resampling and normalising.", "s"),
        column("seconds_detect", pa.float64(), "Running the models.", "s"),
        column("seconds_tally", pa.float64(), "Measuring.", "s"),
        column("seconds_write", pa.float64(), "Writing the masks.", "s"),
        column("seconds_total", pa.float64(), "All of it, waiting for the device included.", "s"),
        column("seconds_wait", pa.float64(), "Waiting for the device's lock.", "s"),
        column("peak_rss_mb", pa.float64(), "Peak memory of the process while the scan ran.", "MiB"),
        column("n_concurrent", pa.int32(), "Scans in that process at the same time, this one included."),
        column("device", pa.string(), "cpu, or the GPU's name."),
        column("backend", pa.string(), "torch, torch-bfloat16, openvino, none."),
        column("worker", pa.string(), "Name of the worker."),
        column("software", pa.map_(pa.string(), pa.string()), "Versions of spinetally and what it computed with."),
        column("finished_at", TIME, "When the scan was done.", required=True),
        column("lesions", pa.list_(LESION), "Its lesions."),
        column("candidates", pa.list_(CANDIDATE), "What was seen and is no lesion."),
        column("vertebrae", pa.list_(VERTEBRA), "Its levels."),
    ]
)
"""One row per scan, recipe and attempt."""
