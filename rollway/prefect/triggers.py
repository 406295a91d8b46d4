"""The parts of automations as plain values: triggers, messages and time limits."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from rollway.spec import Frozen

# A worker that takes a run makes it Pending. Kubernetes may then need minutes for a machine and an image.
PENDING_SECONDS = 1800


class Timing(Frozen):
    """Time limits of the alerts, in seconds."""

    silent_seconds: int = Field(default=90, ge=10, description="A run without a heartbeat for this long is dead.")
    waiting_seconds: int = Field(
        default=600, ge=10, description="A run that no worker starts for this long is reported."
    )
    watcher_late_seconds: int = Field(
        default=3600, ge=10, description="The watcher is late if it has not completed for this long."
    )


DEFAULT_TIMING = Timing()


class Message(Frozen):
    """A message for a notification block; subject and body are Jinja templates for the Prefect server."""

    channel: str
    subject: str
    body: str


class SilenceCheck(Frozen):
    """A run of the flow that checks the run that triggered an automation."""

    silent_seconds: int


class Automation(Frozen):
    """An automation. `trigger` is Prefect's JSON."""

    name: str
    description: str
    trigger: dict[str, Any]
    action: Message | SilenceCheck


def event(
    *,
    expect: Sequence[str],
    match: dict[str, Any],
    match_related: list[dict[str, Any]],
    after: Sequence[str] = (),
    for_each: Sequence[str] = (),
    absent_for: int = 0,
    once_in: int = 1,
) -> dict[str, Any]:
    """Return a trigger that fires on one of the events, or after `absent_for` seconds without any.

    It fires once in `once_in` seconds for the same values of `for_each`. Not 0: if the evaluation of one automation
    fails, Prefect delivers the event again to all of them.
    """
    return {
        "type": "event",
        "posture": "Proactive" if absent_for else "Reactive",
        "after": list(after),
        "expect": list(expect),
        "match": match,
        "match_related": match_related,
        "for_each": list(for_each),
        "threshold": 1,
        "within": absent_for or once_in,
    }


def tag(*tags: str) -> dict[str, Any]:
    """Return the condition that the run has one of the tags."""
    return {"prefect.resource.role": "tag", "prefect.resource.id": [f"prefect.tag.{one}" for one in tags]}


def duration(seconds: int) -> str:
    """Return seconds as text, in minutes if there are whole ones."""
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"
