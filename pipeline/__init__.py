"""Verbs: what makes the tables, from files to answers, in this order.

    index       headers of a source -> series, one row each (`index`, which reads `sources`, `dicom`, `nifti`)
    plan        series -> shards, append-only (`plan`)
    ingest      one series -> one Zarr array, or a quarantined row (`ingest`)
    scan        one scan under one recipe (`scan`), in three steps that share a process:
      preprocess    a volume on the grid and in the units that a model asks for (`engine.preprocess`)
      detect        models -> masks of levels and lesions (`models`, on the `engine`)
      tally         masks -> lesions and vertebrae, in millimetres on the source's grid (`tally`)
    results     a scan's row, a shard's file: the commit (`store.results`)
    query       DuckDB views over the files (`query`; changes between studies are `longitudinal`)
    after       `export`, `evaluate`, `report`, `view`, `verdicts`; `compact` and `housekeeping` keep the store

Below all of them: `errors`, `grid`, `masks`, `store`, `identity`. Beside them: `phantom`, which makes scans whose truth
is known, and `training`, which made the built-in models of them.
Nothing here knows Prefect or Dask; `flows` decides when and where each step runs.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")
"""Torch's threads wait for their next piece of work 0.1 ms, not several, with the processor held: OpenVINO's threads,
whose turn it is then, would run at half their speed. It is read when torch is loaded, so it is set before."""
