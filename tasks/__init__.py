"""The Prefect tasks of all flows: name, deadline, retries, tags and artifact, each around one call."""
