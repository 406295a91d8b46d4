"""Watching: what is due at an endpoint, and whether a run must be started for it."""

from enum import StrEnum

from rollway.rollout.follow import Skipped
from rollway.spec import Frozen


class Verdict(StrEnum):
    """Decision about one rollout folder."""

    UP_TO_DATE = "up_to_date"
    HELD_BACK = "held_back"  # a pause, a hold, a freeze window, a rejection or failures
    NOTHING_ELIGIBLE = "nothing_eligible"
    RUNNING = "running"  # a run of this endpoint has not ended
    START = "start"
    STARTED = "started"


class Finding(Frozen):
    """Finding about one rollout.

    `version` is the one to roll out, `live_version` the one with the most traffic, `run` the flow run started for it.
    """

    rollout: str
    endpoint: str
    workspace: str
    model: str = ""
    version: str | None = None
    live_version: str | None = None
    verdict: Verdict
    reason: str
    skipped: tuple[Skipped, ...] = ()
    run: str | None = None


class Look(Frozen):
    """Result of looking at one rollout: a finding, or an error."""

    rollout: str
    finding: Finding | None = None
    error: str | None = None
