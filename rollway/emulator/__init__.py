"""The local Azure ML: control plane, data plane, and containers that run real models."""
