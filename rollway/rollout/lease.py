"""The lease: a tag on the endpoint that says which run attempt may write to it, for writers everywhere.

A run attempt is `<flow run>/<attempt>`. The service has no compare-and-set, so a lease alone excludes nobody: every
write is made only after reading that the lease is still the writer's own (fencing). Who waits for a lease judges its
age by the own clock, as the time since it last changed: clocks of different machines are never compared.
"""

from rollway.spec import Frozen

FREE = "free"


class Lease(Frozen):
    """Who holds an endpoint. `renewed_at` is for people, and makes each renewal a different value."""

    holder: str
    ttl_seconds: int
    renewed_at: str

    def encode(self) -> str:
        """The tag's value."""
        return f"{self.holder} {self.ttl_seconds} {self.renewed_at}"


def decode(tag: str | None) -> Lease | None:
    """The lease in a tag's value; None when the endpoint is free, also for a value that no Rollway wrote."""
    parts = (tag or FREE).split(" ")
    if len(parts) != 3 or not parts[1].isdecimal():
        return None
    return Lease(holder=parts[0], ttl_seconds=int(parts[1]), renewed_at=parts[2])


def is_earlier_attempt(holder: str, run_id: str) -> bool:
    """Whether the holder is an attempt of the same flow run that `run_id` has replaced."""
    (flow_run, _, attempt), (own_flow_run, _, own_attempt) = holder.partition("/"), run_id.partition("/")
    return (
        flow_run == own_flow_run and attempt.isdecimal() and own_attempt.isdecimal() and int(attempt) < int(own_attempt)
    )
