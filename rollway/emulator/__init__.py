"""The local Azure ML: its control plane, its data plane, and the runtime that really serves models."""
