"""The scoring gateway: authentication, routing by weight, limits and status codes."""
