"""What is stored and shown of a patient's lesions over time: edges between two scans, and the changes they make up.

An edge joins a lesion of an earlier scan to one of the next scan of the same patient, recipe and modality. A lesion
that splits has several edges, and so have lesions that merge; a new lesion has no earlier end, a resolved one no later
end. Edges that hang together are one event.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.columns import INTEGERS, column

STATES: dict[str, str] = {
    "new": "Not there before, though its place was looked at.",
    "resolved": "No longer there, though its place was looked at.",
    "growing": "The same lesion, larger by more than measurement varies.",
    "shrinking": "The same lesion, smaller by more than measurement varies.",
    "stable": "The same lesion, its size within what measurement varies.",
    "merged": "Several lesions became one.",
    "split": "One lesion became several.",
    "not_assessable": "Its place was not looked at in the other scan, or cannot be found there; see `reason`.",
}
"""State of an edge to its meaning. Size alone decides: a lesion that turns denser may be healing."""

REASONS: dict[str, str] = {
    "outside_field_of_view": "Its place lies outside the other scan.",
    "no_common_level": "No named vertebra near it is in both scans, and they share no frame of reference.",
    "poor_registration": "The vertebra could not be brought onto itself.",
    "level_not_found": "It lies in a vertebra that was not found in the other scan, though that scan holds its place.",
}
"""Why an edge is not assessable."""

_PAIR = [
    column("pair_id", pa.string(), "Hash of the two scans' rows and the version of the matching.", required=True),
    column("recipe_id", pa.string(), "Recipe of both scans.", required=True),
    column("patient_key", pa.string(), "Keyed hash of site or issuer and PatientID.", required=True),
    column("modality", pa.string(), "DICOM modality of both."),
    column("study_key_0", pa.string(), "Study of the earlier scan.", required=True),
    column("study_key_1", pa.string(), "Study of the later scan.", required=True),
    column("series_key_0", pa.string(), "The earlier scan.", required=True),
    column("series_key_1", pa.string(), "The later scan.", required=True),
]
_ATTEMPTS = [
    column("attempt_0", pa.string(), "Attempt that made the earlier scan's row.", required=True),
    column("attempt_1", pa.string(), "Attempt that made the later scan's row.", required=True),
]
_VERSION = [column("matching", pa.int32(), "Version of the matching; of two of one pair the newer counts.")]
_DAYS = [
    column("study_day_0", pa.int32(), "Day of the earlier scan since the patient's first study.", "days"),
    column("study_day_1", pa.int32(), "Day of the later scan since the patient's first study.", "days"),
]
_EVENT = [
    column("event", pa.int32(), "Edges of a pair with the same number are one event; from 1.", required=True),
    column("state", pa.string(), f"One of {', '.join(STATES)}.", required=True),
    column("reason", pa.string(), f"Why it is not assessable: {', '.join(REASONS)}."),
    column("n_0", pa.int32(), "Earlier lesions of the event.", required=True),
    column("n_1", pa.int32(), "Later lesions of the event.", required=True),
    column("level", pa.string(), "Primary level, of the later lesion where there is one; `none` outside all."),
]
_REGISTRATION = [
    column(
        "registration",
        pa.string(),
        "How places were brought together: vertebra (rigid, the same level in both), nearest_vertebra (that of the "
        "nearest common level), frame_of_reference (the scans share one), centroid (a guess); NULL if not at all.",
    ),
    column("registration_dice", pa.float64(), "Overlap (Dice) of the vertebra's two masks after it; its quality.", "1"),
]
_VOLUMES = [
    column("volume_0_mm3", pa.float64(), "Volume before; NULL for what was not there.", "mm3"),
    column("volume_1_mm3", pa.float64(), "Volume after; NULL for what is not there.", "mm3"),
    column("event_volume_0_mm3", pa.float64(), "Volume before, of all lesions of the event.", "mm3"),
    column("event_volume_1_mm3", pa.float64(), "Volume after, of all lesions of the event.", "mm3"),
    column(
        "volume_change", pa.float64(), "Volume of the event after over before, less 1; NULL where one is none.", "1"
    ),
]
_DENSITY = [
    column("hu_mean_change", pa.float64(), "Mean HU of the event after less before, apart from size.", "HU"),
    column("suv_max_change", pa.float64(), "SUVmax of the event after less before.", "g/mL"),
]

_LINK = [
    column("lesion_id_0", pa.int32(), "Lesion of the earlier scan; NULL for a new one."),
    column("lesion_id_1", pa.int32(), "Lesion of the later scan; NULL for a resolved one."),
    column("overlap_0", pa.float64(), "Share of the earlier lesion within 3 mm of the later one.", "1"),
    column("overlap_1", pa.float64(), "Share of the later lesion within 3 mm of the earlier one.", "1"),
    column("distance_mm", pa.float64(), "Between their centroids after registration.", "mm"),
]
_TYPES = [
    column("lesion_type_0", pa.string(), "Type of the earlier lesion."),
    column("lesion_type_1", pa.string(), "Type of the later lesion."),
]

EDGES = pa.schema([*_PAIR, *_ATTEMPTS, *_VERSION, *_EVENT, *_LINK, *_REGISTRATION, *_VOLUMES, *_DENSITY, *_TYPES])
"""One row per edge, in `changes/`."""

EDGE_VIEW = pa.schema([*_PAIR, *_DAYS, *_EVENT, *_LINK, *_REGISTRATION, *_VOLUMES, *_DENSITY, *_TYPES])
"""The view `edges`: edges between the scans that count now, each with its predecessor."""

CHANGE_VIEW = pa.schema(
    [
        *_PAIR,
        *_DAYS,
        column("days_between", pa.int32(), "Days from the earlier to the later scan.", "days"),
        *_EVENT,
        column("lesion_ids_0", INTEGERS, "Its lesions in the earlier scan."),
        column("lesion_ids_1", INTEGERS, "Its lesions in the later scan."),
        *_REGISTRATION,
        column("volume_0_mm3", pa.float64(), "Volume of the event's lesions before; NULL if none.", "mm3"),
        column("volume_1_mm3", pa.float64(), "Volume of the event's lesions after; NULL if none.", "mm3"),
        column("volume_change", pa.float64(), "Volume after over volume before, less 1.", "1"),
        *_DENSITY,
        *_TYPES,
    ]
)
"""The view `changes`: one row per event, so that a lesion that splits counts once."""
