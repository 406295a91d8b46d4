"""Rollway on one machine: the local Azure ML, a Prefect server and a worker, for the demo and for exploring."""
