"""What is stored of a series: a row of `catalog/`, a row of `plan/`, and the keys that join them."""

from __future__ import annotations

import pyarrow as pa

from schemas.acquisition import ACQUISITION
from schemas.columns import DOUBLES, INTEGERS, TIME, column

LAYOUT_VERSION = 1
"""Version of the store's layout, in `store.json`. A store with a higher one is refused."""

KEYS: list[pa.Field] = [
    column("series_key", pa.string(), "Keyed hash of patient, study, series UID, modality and part.", required=True),
    column("study_key", pa.string(), "Keyed hash of patient and study.", required=True),
    column("patient_key", pa.string(), "Keyed hash of site or issuer and PatientID.", required=True),
]

PLAN = pa.schema(
    [
        column("shard", pa.string(), "Name of the shard: a hash of its members.", required=True),
        column("position", pa.int32(), "Place of the series in its shard.", required=True),
        *KEYS,
        column("version", pa.string(), "Hash of the series' objects, their sizes and the ingest_id.", required=True),
        column("modality", pa.string(), "DICOM modality; NULL where nothing says it."),
        column("n_voxels", pa.int64(), "Voxels expected from the headers.", "voxels"),
        column("source_bytes", pa.int64(), "Size of the source's files.", "bytes"),
    ]
)
"""One row per series and version: the shard it belongs to."""

CATALOG = pa.schema(
    [
        *KEYS,
        column("series_uid_key", pa.string(), "Keyed hash of the SeriesInstanceUID; the same for all its parts."),
        column("frame_of_reference_key", pa.string(), "Keyed hash of the FrameOfReferenceUID."),
        column("part", pa.int32(), "Which volume of the series; 0 where it holds one.", required=True),
        column("part_reason", pa.string(), "What tells the parts apart, such as echo_time; NULL where it holds one."),
        column("version", pa.string(), "Hash of the series' objects, their sizes and the ingest_id.", required=True),
        column("ingest_id", pa.string(), "Hash of the options and code that change voxels.", required=True),
        column("shard", pa.string(), "Shard of the plan.", required=True),
        column("attempt", pa.string(), "Which attempt wrote the row; sorts by time.", required=True),
        column("modality", pa.string(), "DICOM modality (CT, MR, PT, NM); NULL where nothing says it."),
        column("study_date_shifted", pa.date32(), "Study date moved by the patient's secret offset."),
        column("site", pa.string(), "The manifest's site, or a pseudonym of the institution."),
        column("status", pa.string(), "ok, quarantined or excluded.", required=True),
        column("reason_code", pa.string(), "Why it is quarantined: a word of schemas.reasons."),
        column("reason", pa.string(), "The same as a sentence, with the figures of this case."),
        column("excluded_by", pa.string(), "The selection rule that left it out."),
        column("preference", DOUBLES, "Rank among the series of its study by the selection; smaller is preferred."),
        column("shape", INTEGERS, "Voxels along z, y, x.", "voxels"),
        column("spacing_mm", DOUBLES, "Distance of voxel centres along z, y, x.", "mm"),
        column("origin_mm", DOUBLES, "Centre of the first voxel as x, y, z, LPS.", "mm"),
        column("direction", DOUBLES, "Nine cosines row by row; the columns are the axes i, j, k."),
        column("n_instances", pa.int32(), "DICOM objects or files that made the volume."),
        column("n_duplicates", pa.int32(), "Identical copies that were left out."),
        column("derived", pa.string(), "How voxels differ from the source: gantry_tilt, interpolated; NULL if not."),
        column("lossy", pa.bool_(), "Whether the source was compressed with loss."),
        column("transfer_syntax", pa.string(), "UID of the source's encoding."),
        column("computed_spacing_mm", pa.float64(), "Slice distance computed from the positions.", "mm"),
        column("slice_spacing_max_error_mm", pa.float64(), "Largest deviation of a step from it.", "mm"),
        column("intensity_unit", pa.string(), "HU, SUVbw, BQML, arbitrary, ...: unit of the stored voxels."),
        column("suv_factor", pa.float64(), "Stored value times this is SUVbw; NULL where it cannot be known.", "g/mL"),
        column("suv_reason", pa.string(), "Why there is no SUV."),
        column("volume_uri", pa.string(), "The array, relative to the store; opens with zarr.open."),
        column("voxels_sha256", pa.string(), "SHA-256 of the stored voxels, C order, little endian."),
        column("source_bytes", pa.int64(), "Size of the source's files.", "bytes"),
        column("stored_bytes", pa.int64(), "Size of the stored array.", "bytes"),
        column("seconds_ingest", pa.float64(), "Wall time of the ingest of this series.", "s"),
        column("peak_rss_mb", pa.float64(), "Peak memory of the process while it ran.", "MiB"),
        column("finished_at", TIME, "When the row was made.", required=True),
        *ACQUISITION,
    ]
)
"""One row per series, version and attempt."""

INDEX = pa.schema(
    [
        column(
            "uri", pa.string(), "Address of the file, with its member or frames where it holds several.", required=True
        ),
        column("size", pa.int64(), "Size of the file.", "bytes", required=True),
        column("stamp", pa.string(), "What tells that the file is unchanged: modification time, ETag.", required=True),
        column("kind", pa.string(), "dicom, nifti, not_image, not_dicom, unreadable, mask or archive.", required=True),
        column("header", pa.string(), "What the index read of it, as JSON; of a mask its digest.", required=True),
    ]
)
"""One row per file of the source, in `private/`: spares the next run from opening it."""
