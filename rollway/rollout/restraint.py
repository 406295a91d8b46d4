"""Restraints of automation: a pause, an order of a person, a freeze window, or failures."""

from datetime import datetime, timedelta

from rollway.rollout.fingerprint import folder_digest
from rollway.rollout.follow import content_digest, freezing_window
from rollway.rollout.record import EndpointRecord
from rollway.spec import Follow, RolloutSpec

MOST_FAILURES = 5
FIRST_DISTANCE, GROWTH = timedelta(minutes=10), 2.0


def restraint(spec: RolloutSpec, model: str | None, record: EndpointRecord, now: datetime) -> str:
    """Return why automation rolls nothing out now; empty if it may.

    Args:
        model: The version that would be rolled out, `<name>:<version>`.
        now: The time, with its zone.
    """
    if record.pause_reason:
        return f"it is paused: {record.pause_reason}"
    if record.command is not None and record.is_held:
        return f"it is held: {record.command.sentence}"
    if window := freezing_window(spec.rollout.follow or Follow(), now):
        return f"no automatic rollouts in {window}"
    if model is None:
        return ""
    if record.has_rejected(model, folder_digest(spec.online_deployment)):
        return f"{model} was rejected: it failed through its own fault; change the folder, or name the version"
    return _failures(spec, model, record, now)


def distance(failures: int) -> timedelta:
    """Return the time between the last of so many failures in a row and the next try."""
    return timedelta(seconds=FIRST_DISTANCE.total_seconds() * GROWTH ** (failures - 1))


def _failures(spec: RolloutSpec, model: str, record: EndpointRecord, now: datetime) -> str:
    failures = record.failures
    if failures is None or failures.content != content_digest(model, spec):
        return ""
    if failures.count >= MOST_FAILURES:
        return f"it failed {failures.count} times for temporary reasons, last at {failures.at}; a person must look"
    try:
        again = datetime.fromisoformat(failures.at) + distance(failures.count)
        is_early = now < again
    except (ValueError, TypeError, OverflowError):  # Rollway did not write it
        return ""
    times = "once" if failures.count == 1 else f"{failures.count} times"
    return f"it failed {times} for a temporary reason; the next try is due at {again:%H:%M:%S %Z}" if is_early else ""
