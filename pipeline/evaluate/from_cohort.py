"""The reference standard and the parts of a cohort, as its cohort file and manifest name them."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from pipeline.errors import SourceError
from pipeline.evaluate.sources import Assignment, TruthSource, assignments, read_points, truth_sources
from pipeline.identity import Identity
from pipeline.index.source_index import SourceIndex, index_source
from pipeline.manifest import is_manifest
from schemas.config import CohortConfig


def cohort_truth(
    config: CohortConfig,
    *,
    identity: Identity,
    previous: pa.Table | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[TruthSource], list[Assignment]]:
    """Every annotation of the cohort, and to which part each series belongs.

    Args:
        config: the cohort file: `truth` and `split_column`.
        identity: makes the keys.
        previous: the table of files of the last index, so that no file is opened again.
        progress: called with files done and files to open.

    Raises:
        SourceError: there is no such source, or the points cannot be read.
        ConfigError: a part has an unknown name.
    """
    index = _index(config, identity, previous, progress)
    parts = assignments(index.clinical, config.split_column)
    points = None
    if config.truth is not None and config.truth.points is not None:
        points = read_points(config.truth.points, index.crosswalk, storage_options=config.storage_options)
    sources = truth_sources(index.series, parts, points=points)
    for number, column in enumerate(config.truth.more_masks if config.truth else [], 2):
        other = _index(_with_masks(config, column), identity, index.files, progress)
        sources += truth_sources(other.series, parts, reader=str(number))
    return sources, parts


def _index(
    config: CohortConfig,
    identity: Identity,
    previous: pa.Table | None,
    progress: Callable[[int, int], None] | None,
) -> SourceIndex:
    """The index with the column of parts among the clinical ones, where the manifest has it."""
    column = config.split_column
    if is_manifest(config.source) and column not in config.clinical:
        wider = config.model_copy(update={"clinical": [*config.clinical, column]})
        try:
            return index_source(wider, identity=identity, previous=previous, progress=progress)
        except SourceError as error:
            if repr(column) not in str(error):
                raise
    return index_source(config, identity=identity, previous=previous, progress=progress)


def _with_masks(config: CohortConfig, column: str) -> CohortConfig:
    truth = config.truth.model_copy(update={"masks": column}) if config.truth else None
    return config.model_copy(update={"truth": truth})
