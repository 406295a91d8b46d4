"""Containers of online deployments: environments, and Microsoft's own inference server as a process."""
