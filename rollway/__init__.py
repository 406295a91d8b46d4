"""Rolls out machine-learning models to Azure ML online endpoints."""
