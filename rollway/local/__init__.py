"""A whole Rollway on one machine: the local Azure ML, a Prefect server and a worker, for exploring and for the demo."""
