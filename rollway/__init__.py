"""Puts machine-learning models behind Azure ML online endpoints."""
