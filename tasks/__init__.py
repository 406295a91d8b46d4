"""Each step of a rollout as Prefect shows it: name, deadline, retry rule, tags and artifact, around an adapter call."""
