"""What the views stand on, in the schema `store`: the files as tables, and which of their rows count.

Nothing is overwritten in a store, so a series and a scan may have several rows. Which one counts:

    series      of (series, version): anything before quarantined, then the newest attempt;
                of a series: the version ingested last
    scans       of (recipe, series) in that version and with the masks given last: `ok` before anything else, then
                the newest attempt; none where the series is excluded now
"""

from __future__ import annotations

import pyarrow as pa

from pipeline.query.columns import definitions, literal, parquet_schema, sql_type
from pipeline.query.compacted import TABLES as MERGED
from pipeline.query.files import StoreFiles
from schemas.catalog import CATALOG
from schemas.edges import EDGES
from schemas.evaluation import TABLES as EVALUATED
from schemas.nested import spread_schema
from schemas.results import RESULTS
from schemas.verdicts import FOLDER as VERDICTS
from schemas.verdicts import VERDICT
from schemas.views import EVALUATION

BEST_SERIES = """
CREATE TABLE store.best_series AS
WITH attempts AS (
    SELECT series_key, version, shard, attempt, study_key, patient_key, modality, site, status, study_date_shifted,
        preference, derived, shape, spacing_mm, part
    FROM store.catalog
    QUALIFY row_number() OVER (
        PARTITION BY series_key, version ORDER BY status = 'quarantined', attempt DESC) = 1
), latest AS (
    FROM attempts QUALIFY row_number() OVER (PARTITION BY series_key ORDER BY attempt DESC) = 1
)
SELECT series_key, version, shard, attempt, study_key, patient_key, modality, site, status,
    (study_date_shifted - min(study_date_shifted) OVER (PARTITION BY patient_key))::INTEGER AS study_day,
    status = 'ok' AND row_number() OVER (
        PARTITION BY study_key, modality, status = 'ok'
        ORDER BY preference NULLS LAST, derived IS NOT NULL, round(spacing_mm[1], 3) NULLS LAST,
            list_product(shape) DESC NULLS LAST, part, series_key) = 1 AS is_primary,
    (count(*) OVER (PARTITION BY study_key, modality))::INTEGER AS n_series
FROM latest
"""

BEST_SCANS = """
CREATE TABLE store.best_scans AS
WITH attempts AS (
    SELECT r.recipe_id, r.series_key, r.shard, r.attempt, r.status, r.version, s.status AS series_status,
        s.study_key, s.patient_key, s.modality, s.site, s.study_day, s.is_primary, s.n_series, r.given_id,
        first_value(r.given_id) OVER (PARTITION BY r.recipe_id, r.series_key ORDER BY r.attempt DESC) AS given_last
    FROM store.results r JOIN store.best_series s USING (series_key, version)
    WHERE s.status != 'excluded'
)
SELECT * EXCLUDE (given_id, given_last) FROM attempts WHERE given_id IS NOT DISTINCT FROM given_last
QUALIFY row_number() OVER (PARTITION BY recipe_id, series_key ORDER BY status != 'ok', attempt DESC) = 1
"""

_LEAST_BYTES_OF_ROW = 20
"""Of a row in a compressed file: a table is believed to have more rows than it has."""


def table_statements(files: StoreFiles, merged: str | None) -> dict[str, str]:
    """Table to its CREATE statement: on the merged tables in the folder `merged`, else on the files of one listing."""
    statements = {
        "store.edges": _on_files(files, "edges", EDGES, "changes"),
        "store.verdicts": _on_files(files, "verdicts", VERDICT, VERDICTS),
    }
    for view, (folder, schema) in EVALUATION.items():
        statements[f"store.{view}"] = _on_files(files, view, schema, f"{EVALUATED}/{folder}")
    if merged is not None:
        for view, schema in MERGED.items():
            statements[f"store.merged_{view}"] = _on_files(files, f"merged_{view}", schema, f"{merged}/{view}")
        return statements
    return statements | {
        "store.catalog": _on_files(files, "catalog", CATALOG, "catalog"),
        "store.results": _on_files(files, "results", spread_schema(RESULTS), "results"),
        "store.best_series": BEST_SERIES,
        "store.best_scans": BEST_SCANS,
    }


def _on_files(files: StoreFiles, name: str, schema: pa.Schema, folder: str) -> str:
    """Parquet files as one table of a declared schema: older files lack columns, which are NULL; none is empty."""
    address = files.address(folder)
    if address is None:
        return f"CREATE TABLE store.{name} ({definitions(schema)})"
    rows = f"read_parquet({literal(address)}, schema = {parquet_schema(schema)}, hive_partitioning = false)"
    return f"CREATE VIEW store.{name} AS FROM {rows} UNION ALL {_none_of_many(schema, files.bytes_below(folder))}"


def _none_of_many(schema: pa.Schema, n_bytes: int) -> str:
    """No row, of which DuckDB believes that it is many.

    DuckDB 2.0 takes a table that is read by a declared schema for one row, however many files it has. So it would build
    the hash table of a join of the lists of all lesions, and not of the keys: 18 GB were not enough for 20 million.
    """
    nulls = ", ".join(f"NULL::{sql_type(field.type)}" for field in schema)
    return f"(SELECT {nulls} FROM range({n_bytes // _LEAST_BYTES_OF_ROW}) LIMIT (SELECT 0))"  # noqa: S608 -- types only
