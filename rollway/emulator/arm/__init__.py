"""Azure Resource Manager: workspaces, assets, endpoints and online deployments."""
