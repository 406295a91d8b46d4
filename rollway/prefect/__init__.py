"""Everything that talks to Prefect besides flows and tasks: the task decorator, the run, blocks, alerts."""
