"""The alerts and their texts: Prefect automations as plain values, without a server.

Automations live in the Prefect server, so they also see a run whose process, worker or machine is gone. Their texts are
Jinja templates that the server renders. Facts that only the run's process knew are in the run's labels
(`rollway.prefect.labels`).
"""

from collections.abc import Mapping, Sequence

from rollway.errors import ConfigurationError
from rollway.prefect.labels import CAUSE, ENDPOINT, FAILED_TASK, MODEL, NEXT, TASK, TRAFFIC, WORKSPACE
from rollway.prefect.triggers import Automation, Message, SilenceCheck, Timing, duration, event, tag
from rollway.prefect.watcher_alerts import (
    PREFIX,
    watcher_back,
    watcher_late,
)
from rollway.spec import Frozen, RolloutSpec

TAG = "rollway-alerts"  # on every automation of ours; others are never touched
DEFAULT_CHANNEL = "rollway-alerts"
SILENCE_CHECK = "check-silent-run"  # flow and Prefect deployment
COMPLETED_EVENT = "rollway.rollout.completed"
HELD_EVENT = "rollway.rollout.held"

MOST_CAUSE_CHARACTERS = 1500  # Slack and Teams cut or refuse much longer messages

_ENDED = [f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut", "Cancelled")]
# With Running, because a run that dies before its first heartbeat must be missed too.
_SIGNS_OF_LIFE = ["prefect.flow-run.heartbeat", "prefect.flow-run.Running"]
_NOT_RUNNING = [
    f"prefect.flow-run.{state}"
    for state in ("Completed", "Paused", "Suspended", "Scheduled", "AwaitingRetry", "Resuming")
]
_DUE = ["prefect.flow-run.Late", "prefect.flow-run.Pending"]


class AlertedRollout(Frozen):
    """The parts of a rollout folder that its alerts need."""

    rollout: str
    endpoint: str
    severity: str
    channel: str

    @classmethod
    def of(cls, spec: RolloutSpec, default_channel: str) -> "AlertedRollout":
        """Return the alert settings of a folder."""
        alerts = spec.rollout.alerts
        return cls(
            rollout=spec.name,
            endpoint=spec.endpoint.name,
            severity=alerts.severity,
            channel=alerts.channel or default_channel,
        )


class Changes(Frozen):
    """The changes that bring the automations of a Prefect server to the wanted ones, by name."""

    create: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    switched_off: tuple[str, ...] = ()  # by a person, in the UI; they stay off

    def __str__(self) -> str:
        lines = [
            f"{verb:<9} {name}"
            for verb, names in (("create", self.create), ("update", self.update), ("delete", self.delete))
            for name in names
        ]
        lines += [f"unchanged {name}" for name in self.unchanged]
        lines += [f"note: {name!r} is switched off in Prefect and stays off" for name in self.switched_off]
        return "\n".join(lines) or "there is nothing to alert on"


def wanted(rollouts: Sequence[AlertedRollout], channel: str, timing: Timing) -> tuple[Automation, ...]:
    """Return every wanted automation; alerts about the watcher go to `channel`."""
    automations = [
        _crash_silent_runs(timing),
        _abort_cancelled_runs(timing),
        _silence_unchecked(channel, timing),
        watcher_late(channel, timing),
        watcher_back(channel, timing),
    ]
    for rollout in rollouts:
        if rollout.severity != "none":
            automations += [_failed(rollout), _waiting(rollout, timing), _held(rollout), _recovered(rollout)]
    return tuple(automations)


def compare(want: Mapping[str, object], have: Mapping[str, object], switched_off: Sequence[str] = ()) -> Changes:
    """Return the changes that bring `have` to `want`; the values need only be comparable."""
    return Changes(
        create=tuple(name for name in want if name not in have),
        update=tuple(name for name in want if name in have and want[name] != have[name]),
        delete=tuple(name for name in have if name not in want),
        unchanged=tuple(name for name in want if name in have and want[name] == have[name]),
        switched_off=tuple(name for name in switched_off if name in want),
    )


def check_heartbeats(frequencies: Mapping[str, int | None], timing: Timing) -> None:
    """Raise ConfigurationError if healthy runs send heartbeats so rarely that they would be taken for dead.

    Args:
        frequencies: Seconds between heartbeats by Prefect deployment; None if not set.
        timing: The limits.
    """
    slow = [name for name, seconds in frequencies.items() if seconds is None or 3 * seconds > timing.silent_seconds]
    if slow:
        raise ConfigurationError(
            "healthy runs would be taken for dead",
            where=f"Prefect deployments {', '.join(sorted(slow))}",
            why=f"their runs send heartbeats less than three times in {timing.silent_seconds} s",
            hint='set PREFECT_FLOWS_HEARTBEAT_FREQUENCY to "30" in job_variables.env of prefect.yaml and deploy again',
        )


def _crash_silent_runs(timing: Timing) -> Automation:
    return Automation(
        name=f"{PREFIX}crash silent runs",
        description=f"A run that sends no heartbeats is checked by {SILENCE_CHECK}; if it is dead it becomes Crashed.",
        trigger=event(
            # A heartbeat is in both lists and restarts the time; the end of a run is only expected and ends the wait.
            after=_SIGNS_OF_LIFE,
            expect=[*_SIGNS_OF_LIFE, *_NOT_RUNNING, *_ENDED],
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=[tag("rollway")],
            for_each=["prefect.resource.id"],
            absent_for=timing.silent_seconds,
        ),
        action=SilenceCheck(silent_seconds=timing.silent_seconds),
    )


def _abort_cancelled_runs(timing: Timing) -> Automation:
    # Cancelling a run that waits runs no hook, because it has no process.
    return Automation(
        name=f"{PREFIX}abort cancelled runs",
        description=f"The rollout of a run that was cancelled while it waited is aborted by {SILENCE_CHECK}.",
        trigger=event(
            expect=["prefect.flow-run.Cancelled"],
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=[tag("rollway")],
            for_each=["prefect.resource.id"],
        ),
        action=SilenceCheck(silent_seconds=timing.silent_seconds),
    )


def _silence_unchecked(channel: str, timing: Timing) -> Automation:
    # The check needs a worker, and the last one may have gone with the silent run.
    return Automation(
        name=f"{PREFIX}silent run unchecked",
        description="A run sends no heartbeats, and no worker checks it.",
        trigger=event(
            after=_DUE,
            expect=[*_DUE, "prefect.flow-run.Running", *_NOT_RUNNING, *_ENDED],
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=[{"prefect.resource.role": "flow", "prefect.resource.name": SILENCE_CHECK}],
            for_each=["prefect.resource.id"],
            absent_for=timing.silent_seconds,
        ),
        action=Message(
            channel=channel,
            subject="[notify] a run is silent and no worker checks it",
            body="Cause: a run sends no heartbeats, and no worker has started its check within "
            f"{duration(timing.silent_seconds)}: its machine and the last worker may be gone\n"
            "Next: start a worker; the check then starts by itself and sets the run to Crashed if it is dead\n"
            "Silent run: {{ flow_run.parameters.flow_run_id }}\n"
            "Check: {{ flow_run|ui_url }}",
        ),
    )


def _failed(rollout: AlertedRollout) -> Automation:
    return Automation(
        name=f"{PREFIX}{rollout.rollout} failed",
        description=f"A rollout of {rollout.rollout} failed, crashed, timed out or was cancelled.",
        trigger=event(
            expect=_ENDED,
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=[tag(f"rollout:{rollout.rollout}")],
            for_each=["prefect.resource.id"],
        ),
        action=_message(
            rollout,
            "{{ flow_run.state.name | default('ended', true) | lower }}",
            _CAUSE_AND_NEXT + _FACTS_OF_RUN,
        ),
    )


def _waiting(rollout: AlertedRollout, timing: Timing) -> Automation:
    return Automation(
        name=f"{PREFIX}{rollout.rollout} waiting",
        description=f"A rollout of {rollout.rollout} is due, but no worker runs it.",
        trigger=event(
            after=_DUE,
            expect=[*_DUE, "prefect.flow-run.Running", *_NOT_RUNNING, *_ENDED],
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=[tag(f"rollout:{rollout.rollout}")],
            for_each=["prefect.resource.id"],
            absent_for=timing.waiting_seconds,
        ),
        action=_message(
            rollout,
            "waiting for a worker",
            f"Cause: no worker has started the run within {duration(timing.waiting_seconds)}\n"
            "Next: check the work pool: is a worker alive, is its limit reached? The run then starts by itself\n"
            + _FACTS_OF_RUN,
        ),
    )


def _held(rollout: AlertedRollout) -> Automation:
    return Automation(
        name=f"{PREFIX}{rollout.rollout} held",
        description=f"A progressive rollout of {rollout.rollout} waits for a person.",
        trigger=event(
            expect=[HELD_EVENT],
            match={"prefect.resource.id": "rollway.rollout.*"},
            match_related=[tag(f"rollout:{rollout.rollout}")],
            for_each=["prefect.resource.id"],
        ),
        action=_message(
            rollout,
            "waits for a person",
            "Cause: {{ event.payload.why }}\n"
            "Next: rollway promote {{ endpoint }}, or rollway abort {{ endpoint }}; or run the flow steer-rollout\n"
            "{% if event.payload.promote %}Promote: {{ event.payload.promote }}\n"
            "Abort: {{ event.payload.abort }}\n{% endif %}"
            "Endpoint: {{ event.payload.endpoint }}\n"
            "Workspace: {{ event.payload.workspace }}\n"
            "Run: {{ flow_run|ui_url }}",
        ),
    )


def _recovered(rollout: AlertedRollout) -> Automation:
    ours = [tag(f"rollout:{rollout.rollout}")]
    failed = event(expect=_ENDED, match={"prefect.resource.id": "prefect.flow-run.*"}, match_related=ours)
    completed = event(expect=[COMPLETED_EVENT], match={"prefect.resource.id": "rollway.rollout.*"}, match_related=ours)
    return Automation(
        name=f"{PREFIX}{rollout.rollout} recovered",
        description=f"The first successful rollout of {rollout.rollout} after a failure.",
        trigger={"type": "sequence", "triggers": [failed, completed]},
        action=_message(
            rollout,
            "works again",
            "Endpoint: {{ event.payload.endpoint }}\n"
            "Workspace: {{ event.payload.workspace }}\n"
            "Model: {{ event.payload.model }}\n"
            "Outcome: {{ event.payload.outcome }}\n"
            "Traffic: {{ event.payload.traffic }}\n"
            "Next: nothing\n"
            "Run: {{ flow_run|ui_url }}",
        ),
    )


def _message(rollout: AlertedRollout, what: str, body: str) -> Message:
    return Message(
        channel=rollout.channel,
        subject=f"[{rollout.severity}] rollout {rollout.rollout}: {what}",
        body=f"{{%- set endpoint = '{rollout.endpoint}' -%}}\n{body}",
    )


# The error of a task counts only if the run ended with it: a killed process has a cause of its own.
_CAUSE_AND_NEXT = f"""\
{{%- set type = flow_run.state.type.value | default('') -%}}
{{%- set said = flow_run.labels['{CAUSE}'] if type == 'FAILED' -%}}
{{%- set text = said or (flow_run.state.message | default('', true) | string).partition('\\n\\n')[0] -%}}
Cause: {{{{ text[:{MOST_CAUSE_CHARACTERS}] or 'unknown' }}}}
Next: {{% if said %}}{{{{ flow_run.labels['{NEXT}'] }}}}
{{%- elif type == 'CANCELLED' %}}nothing if the cancellation was intended; otherwise run it again
{{%- elif type == 'CRASHED' %}}check the endpoint with `rollway status {{{{ endpoint }}}}`, then run it again \
to repair it
{{%- else %}}read the run's artifacts and log, then run it again{{% endif %}}
"""
_FACTS_OF_RUN = f"""\
Endpoint: {{{{ flow_run.labels['{ENDPOINT}'] or endpoint }}}}
Workspace: {{{{ flow_run.labels['{WORKSPACE}'] or 'not connected yet' }}}}
Model: {{{{ flow_run.labels['{MODEL}'] or flow_run.parameters.model_version or 'not resolved yet' }}}}
Task: {{{{ flow_run.labels['{FAILED_TASK}'] or flow_run.labels['{TASK}'] or 'none, it had not started' }}}}
Traffic, as last seen by this run: {{{{ flow_run.labels['{TRAFFIC}'] or 'not seen yet' }}}}
Run: {{{{ flow_run|ui_url }}}}"""
