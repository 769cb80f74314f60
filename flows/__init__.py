"""When and where: what runs the pipeline, and the only package that knows Prefect and Dask.

cohort_file     a cohort.yaml -> a checked `CohortConfig`
stages          the pipeline's verbs that a run calls, in one place
prefect_server  Prefect's settings, and a temporary server where nobody gave one
cluster         a Dask client: local, a scheduler's address, or a class named in YAML
memory          how many scans at a time fit a worker
pending         what the store holds, and what is still to do
work            on a worker: one item, watched by the clock
alone           on a worker: one item in a process of its own, so that only it can be blamed
fan_out         items of a shard -> rows, whatever workers do
tasks           one Prefect task run per shard
process_cohort  the flow: index, plan, shards, summary
progress        the bar, the log lines, Prefect's artifacts
cli             the commands
"""
