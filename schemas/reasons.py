"""Why a series or a scan has no result: short fixed words, each with its meaning and what a person can do about it."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A `reason_code`. The sentence beside it in a row gives the figures of that case."""

    # Reading
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    CODEC_UNSUPPORTED = "codec_unsupported"
    TOO_LARGE = "too_large"
    DECODE_TIMEOUT = "decode_timeout"
    DECODE_CRASHED = "decode_crashed"
    # Not a volume of this kind
    NOT_A_VOLUME = "not_a_volume"
    SINGLE_SLICE = "single_slice"
    LOCALIZER = "localizer"
    MOSAIC = "mosaic"
    COLOUR = "colour"
    # Geometry
    NO_GEOMETRY = "no_geometry"
    GEOMETRY_CONFLICT = "geometry_conflict"
    SHEARED = "sheared"
    MIXED_ORIENTATIONS = "mixed_orientations"
    MIXED_SHAPES = "mixed_shapes"
    DUPLICATE_SLICES = "duplicate_slices"
    GAP = "gap"
    IRREGULAR_SPACING = "irregular_spacing"
    GANTRY_TILT = "gantry_tilt"
    # Values
    NO_VALUES = "no_values"
    MIXED_UNITS = "mixed_units"
    # Masks
    MASK_MISSING = "mask_missing"
    MASK_GRID = "mask_grid"
    MASK_VALUES = "mask_values"
    MASK_REFERENCE = "mask_reference"
    # Models
    MODEL_UNFIT = "model_unfit"
    MODEL_OUTPUT = "model_output"
    COMMAND_FAILED = "command_failed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    WORKER_DIED = "worker_died"
    # Ours
    STORED_DAMAGED = "stored_damaged"
    ERROR = "error"


MEANING: dict[Reason, tuple[str, str]] = {
    Reason.UNREADABLE: (
        "A file is damaged or is not what it says it is.",
        "Fetch the file again from its archive.",
    ),
    Reason.TRUNCATED: ("A file ends before its pixels do.", "Fetch the file again from its archive."),
    Reason.CODEC_UNSUPPORTED: (
        "The pixels are encoded in a way that no installed decoder reads.",
        "Transcode the series, for example with gdcmconv or dcmdjpeg.",
    ),
    Reason.TOO_LARGE: (
        "The series asks for more voxels than `limits.max_voxels`.",
        "Raise the limit, or check the file.",
    ),
    Reason.DECODE_TIMEOUT: (
        "Decoding took longer than `limits.decode_seconds`.",
        "Raise the limit, or check the file.",
    ),
    Reason.DECODE_CRASHED: (
        "The decoder ended without an answer; the file is probably damaged.",
        "Fetch it again.",
    ),
    Reason.NOT_A_VOLUME: (
        "The images do not make up one volume.",
        "See the sentence; often a series to leave out.",
    ),
    Reason.SINGLE_SLICE: (
        "One slice is no volume.",
        "Leave it out by a `select` rule, or complete the series.",
    ),
    Reason.LOCALIZER: ("A scout image, for planning only.", "Nothing; it is kept out on purpose."),
    Reason.MOSAIC: ("Many slices tiled in one image (Siemens mosaic, UIH grid).", "Convert it with dcm2niix first."),
    Reason.COLOUR: ("Colour pictures hold no measurement.", "Leave it out by a `select` rule."),
    Reason.NO_GEOMETRY: ("Position or spacing of the voxels is missing.", "Give the scan with its geometry."),
    Reason.GEOMETRY_CONFLICT: (
        "Two statements of the geometry disagree.",
        "Find out which is right, and fix the file.",
    ),
    Reason.SHEARED: (
        "The axes are not at right angles and it is no gantry tilt.",
        "Resample it with a tool you trust.",
    ),
    Reason.MIXED_ORIENTATIONS: ("Slices point in different directions.", "Split the series."),
    Reason.MIXED_SHAPES: ("Slices differ in rows, columns or pixel spacing.", "Split the series."),
    Reason.DUPLICATE_SLICES: (
        "Different pictures lie at the same place.",
        "Find out which belong to the series.",
    ),
    Reason.GAP: ("Slices are missing.", "Complete the series, or set `ingest.on_gap: interpolate`."),
    Reason.IRREGULAR_SPACING: (
        "The distance between slices changes.",
        "Split the series, or resample it yourself.",
    ),
    Reason.GANTRY_TILT: (
        "The gantry was tilted and the cohort says to quarantine that.",
        "Set `ingest.on_tilt: resample`.",
    ),
    Reason.NO_VALUES: ("The voxels hold no finite or no differing value.", "Check the file."),
    Reason.MIXED_UNITS: (
        "Slices disagree about what their values mean.",
        "Fetch the series again, or split it.",
    ),
    Reason.MASK_MISSING: (
        "The recipe wants masks that exist already, and this scan names none.",
        "Add it to the manifest.",
    ),
    Reason.MASK_GRID: ("The mask lies elsewhere than the scan.", "Bring both into one patient space."),
    Reason.MASK_VALUES: (
        "The mask holds values that it cannot: negative, fractional, or of no level.",
        "Give whole numbers, 0 for background; of levels, name their table.",
    ),
    Reason.MASK_REFERENCE: (
        "The mask refers to images that are not there.",
        "Give the mask that belongs to the scan.",
    ),
    Reason.MODEL_UNFIT: ("The model is not made for such a scan.", "Choose a model for this modality."),
    Reason.MODEL_OUTPUT: (
        "The model gave something that cannot be a mask.",
        "Run `spinetally models check` on it.",
    ),
    Reason.COMMAND_FAILED: ("The outside program failed.", "See the sentence, run it by hand on this scan."),
    Reason.TIMEOUT: ("The scan took longer than `limits.scan_seconds`, also alone.", "Raise the limit."),
    Reason.OUT_OF_MEMORY: (
        "The scan needs more memory than a worker has, also alone.",
        "Give workers more memory; where it was a GPU's, set `on_gpu_full: cpu`.",
    ),
    Reason.WORKER_DIED: (
        "The worker ended while it did this scan, also alone.",
        "Look into the worker's log.",
    ),
    Reason.STORED_DAMAGED: (
        "What the store holds of the scan is damaged, or gone.",
        "`retry`: the scan is read from its source again.",
    ),
    Reason.ERROR: ("An error in spinetally itself.", "Report it, with the sentence."),
}
"""What each reason means, and what to do."""
