"""When and where: what runs the pipeline, and the only package that knows Prefect and Dask.

cohort_file     a cohort.yaml -> a checked `CohortConfig`
prefect_server  Prefect's settings, and a temporary server where nobody gave one
cluster         a Dask client: local, a scheduler's address, or a class named in YAML
stages          the pipeline's verbs that a run calls, in one place
pending         what the store holds, and what is still to do
prepare         look: what a run would do, nothing written; begin: what it stands on
work, alone     on a worker: one item beside others; one item in a process of its own, so that only it is blamed
fan_out         items of a shard -> rows, whatever workers do
shards          one shard: ingest, commit, process, commit
tasks           one Prefect task run per shard
passes          all shards, and after them those that borrow levels (`borrowing`)
changes         the same lesion in the next scan of its patient
process_cohort  the flow: look, begin, shards, summary (`counts`, `progress`)
memory          how much a worker will need, and how many scans at a time fit it
launch          the flow from a terminal
forecast        what a run would do; `standing`: how a cohort stands
cli             the commands
"""
