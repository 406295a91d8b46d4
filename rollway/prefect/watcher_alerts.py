"""The alerts about the watcher: late, and back."""

from collections.abc import Sequence
from typing import Any

from rollway.prefect.triggers import Automation, Message, Timing, duration, event

PREFIX = "rollway alerts: "
WATCHER = "watch-endpoints"
WATCHER_AWAITED_EVENT = "rollway.watcher.awaited"
WATCHER_RESOURCE = "rollway.watcher"


def watcher_late(channel: str, timing: Timing) -> Automation:
    """Return the alert that the watcher has not completed for too long."""
    return Automation(
        name=f"{PREFIX}{WATCHER} late",
        description="The watcher of new model versions has not completed for too long.",
        trigger=_watcher_is_late(timing),
        action=Message(
            channel=channel,
            subject=f"[notify] {WATCHER} is late",
            body=f"Cause: {WATCHER} has not completed for {duration(timing.watcher_late_seconds)}; new model versions "
            "may not be rolled out, live endpoints are not affected\n"
            f"Next: look at the runs of the flow {WATCHER}: failing, or without a worker?\n"
            "Last completed run: {{ flow_run|ui_url or 'none yet' }}",
        ),
    )


def watcher_back(channel: str, timing: Timing) -> Automation:
    """Return the alert that it completes again."""
    return Automation(
        name=f"{PREFIX}{WATCHER} recovered",
        description="The first completed run of the watcher after it was late.",
        trigger={
            "type": "sequence",
            "triggers": [_watcher_is_late(timing), _watcher_event(["prefect.flow-run.Completed"])],
        },
        action=Message(
            channel=channel,
            subject=f"[notify] {WATCHER} works again",
            body="Next: nothing\nRun: {{ flow_run|ui_url }}",
        ),
    )


def _watcher_is_late(timing: Timing) -> dict[str, Any]:
    # One alert per silence: only a completed run starts the time, or `rollway alerts --apply` if there was none yet.
    completed = "prefect.flow-run.Completed"
    return _watcher_event([completed], [completed, WATCHER_AWAITED_EVENT], timing.watcher_late_seconds)


def _watcher_event(expect: list[str], after: Sequence[str] = (), absent_for: int = 0) -> dict[str, Any]:
    return event(
        expect=expect,
        after=after,
        match={"prefect.resource.id": ["prefect.flow-run.*", WATCHER_RESOURCE]},
        match_related=[{"prefect.resource.role": "flow", "prefect.resource.name": WATCHER}],
        # There is only one watcher, but without `for_each` Prefect restarts the time by itself, regardless of `after`.
        for_each=["related:flow:prefect.resource.name"],
        absent_for=absent_for,
    )
