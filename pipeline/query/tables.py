"""What the views stand on, in the schema `store`: the files as tables, and which of their rows count.

Nothing is overwritten in a store, so a series and a scan may have several rows. Which one counts:

    series      of (series, version): anything before quarantined, then the newest attempt;
                of a series: the version ingested last
    scans       of (recipe, series) in that version: `ok` before anything else, then the newest attempt;
                none where the series is excluded now
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb
import pyarrow as pa

from pipeline.query.columns import definitions, literal, parquet_schema
from pipeline.query.compacted import TABLES as MERGED_VIEWS
from pipeline.query.compacted import Parts
from pipeline.query.files import StoreFiles
from schemas.catalog import CATALOG
from schemas.nested import spread_schema
from schemas.reasons import MEANING
from schemas.results import RESULTS
from schemas.views import VIEWS

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
SELECT r.recipe_id, r.series_key, r.shard, r.attempt, r.status, s.status AS series_status,
    s.study_key, s.patient_key, s.modality, s.site, s.study_day, s.is_primary, s.n_series
FROM store.results r JOIN store.best_series s USING (series_key, version)
WHERE s.status != 'excluded'
QUALIFY row_number() OVER (
    PARTITION BY r.recipe_id, r.series_key ORDER BY r.status != 'ok', r.attempt DESC) = 1
"""


def lay_tables(connection: duckdb.DuckDBPyConnection, files: StoreFiles, merged: Parts | None) -> None:
    """Make the tables that the views read: from merged ones where there are, else from the files of one listing."""
    connection.execute("CREATE SCHEMA store")
    if merged is not None:
        for view in MERGED_VIEWS:
            lay_files(connection, files, f"merged_{view}", VIEWS[view], merged.get(view, []))
        return
    lay_files(connection, files, "catalog", CATALOG, _below(files, "catalog/"))
    lay_files(connection, files, "results", spread_schema(RESULTS), _below(files, "results/"))
    connection.execute(BEST_SERIES)
    connection.execute(BEST_SCANS)
    reasons = pa.table(
        {
            "reason_code": [str(reason) for reason in MEANING],
            "meaning": [meaning for meaning, _ in MEANING.values()],
            "what_to_do": [action for _, action in MEANING.values()],
        }
    )
    lay_rows(connection, "reasons", reasons)


def lay_files(
    connection: duckdb.DuckDBPyConnection, files: StoreFiles, name: str, schema: pa.Schema, paths: Iterable[str]
) -> None:
    """Parquet files as one table of a declared schema: older files lack columns, which are NULL; none is empty."""
    addresses = [literal(files.address(path)) for path in paths]
    if not addresses:
        connection.execute(f"CREATE TABLE store.{name} ({definitions(schema)})")
        return
    connection.execute(
        f"CREATE VIEW store.{name} AS FROM read_parquet([{', '.join(addresses)}], "
        f"schema = {parquet_schema(schema)}, hive_partitioning = false)"
    )


def lay_rows(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    """Rows in memory as a table."""
    connection.register("incoming", rows)
    connection.execute(f"CREATE TABLE store.{name} AS FROM incoming")
    connection.unregister("incoming")


def _below(files: StoreFiles, folder: str) -> list[str]:
    return [path for path in files.sizes if path.startswith(folder)]
