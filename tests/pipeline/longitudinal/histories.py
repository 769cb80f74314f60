"""Patients over time as rows, in a DuckDB connection with the views over time."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from pipeline.longitudinal.views import VIEWS_OVER_TIME
from schemas.columns import table
from schemas.edges import EDGES
from schemas.views import VIEWS


class History:
    """One patient, one recipe, one scan per study; scan 0, 1, ... are `s0`, `s1`, ..."""

    def __init__(self, days: list[int | None], *, modality: str = "CT") -> None:
        self.scans = [
            self._of_scan(number)
            | {"study_day": day, "modality": modality, "status": "ok", "is_primary": True}
            | {"attempt": f"a{number}", "n_lesions": 0, "version": "v", "shard": "h"}
            for number, day in enumerate(days)
        ]
        self.lesions: list[dict[str, Any]] = []
        self.edges: list[dict[str, Any]] = []
        self.vertebrae: list[dict[str, Any]] = []

    def lesion(self, scan: int, number: int, axis: float = 20.0, **columns: Any) -> History:
        """A lesion of a scan: long and short axis are the same."""
        row = {"lesion_id": number, "long_axis_mm": axis, "short_axis_mm": axis, "axial_long_axis_mm": axis}
        self.lesions.append(self._of_scan(scan) | row | {"lesion_type": "lytic"} | columns)
        self.scans[scan]["n_lesions"] += 1
        return self

    def edge(self, scan: int, state: str, first: int | None, second: int | None, **columns: Any) -> History:
        """An edge from scan - 1 to scan."""
        row: dict[str, Any] = {"state": state, "lesion_id_0": first, "lesion_id_1": second, "pair_id": f"pair{scan}"}
        for which, point in enumerate((scan - 1, scan)):
            row |= {f"{name}_{which}": value for name, value in self._keys(point).items()}
        row |= {"event": len(self.edges) + 1, "n_0": int(first is not None), "n_1": int(second is not None)}
        self.edges.append({"recipe_id": "r", "patient_key": "p", "modality": "CT"} | row | columns)
        return self

    def vertebra(self, scan: int, level: str, **columns: Any) -> History:
        """A level of a scan with lesions in it."""
        row = {"level": level, "assessed": "full", "n_lesions": 1, "lesion_load_mm3": 100.0, "is_primary": True}
        self.vertebrae.append(self._of_scan(scan) | row | columns)
        return self

    def ask(self, view: str) -> list[dict[str, Any]]:
        """The rows of a view in order of time."""
        with self.connect() as connection:
            result = connection.execute(f"SELECT * FROM {view} ORDER BY ALL")  # noqa: S608
            names = [column[0] for column in result.description]
            rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        return sorted(rows, key=lambda row: row.get("study_day", row.get("study_day_1", 0)))

    def connect(self) -> duckdb.DuckDBPyConnection:
        """The views over time over these rows."""
        connection = duckdb.connect()
        connection.execute("CREATE SCHEMA store")
        for name, schema, rows in (
            ("scans", VIEWS["scans"], self.scans),
            ("lesions", VIEWS["lesions"], self.lesions),
            ("vertebrae", VIEWS["vertebrae"], self.vertebrae),
            ("store.edges", EDGES, self.edges),
        ):
            loose = pa.schema([field.with_nullable(True) for field in schema])
            given = table(rows, loose)
            connection.register("given", given)
            connection.execute(f"CREATE TABLE {name} AS FROM given")
            connection.unregister("given")
        for name, sql in VIEWS_OVER_TIME.items():
            connection.execute(f"CREATE VIEW {name} AS {sql}")
        return connection

    def _of_scan(self, number: int) -> dict[str, Any]:
        return {"recipe_id": "r", "patient_key": "p", "series_key": f"s{number}", "study_key": f"y{number}"}

    def _keys(self, number: int) -> dict[str, str]:
        return {"series_key": f"s{number}", "study_key": f"y{number}", "attempt": f"a{number}"}
