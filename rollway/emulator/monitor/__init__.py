"""Azure Monitor: metrics and autoscale."""
