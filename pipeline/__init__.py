"""Verbs: what makes the tables, from files to answers, in this order.

    index       headers of a source -> series, one row each (`index`, `sources`, `dicom`, `nifti`)
    plan        series -> shards, append-only (`plan`)
    ingest      one series -> one Zarr array, or a quarantined row (`ingest`, `volumes`)
    preprocess  a volume on the grid and in the units that a model asks for (`preprocess`)
    detect      models -> masks of levels and lesions (`models`, `detect`)
    tally       masks -> lesions and vertebrae, measured in millimetres on the source's grid (`tally`)
    results     a scan's row, a shard's file: the commit (`results`)
    query       DuckDB views over the files (`query`)
    after       `export`, `evaluate`, `report`

Below all of them: `errors`, `store`, `identity`, `grid`, `volumes`, `masks`. Beside them: `phantom`, which makes scans
whose truth is known.
Nothing here knows Prefect or Dask; `flows` decides when and where each step runs.
"""
