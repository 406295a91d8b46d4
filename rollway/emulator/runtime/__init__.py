"""The containers of online deployments: built environments that run Microsoft's own inference server."""
