"""The alerts and their texts: Prefect automations as plain values, without a server.

Automations live in the Prefect server, so they also see a run whose process, worker or machine is gone. Their texts are
Jinja templates that the server renders. Facts that only the run's process knew are in the run's labels
(`rollway.prefect.labels`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rollway.errors import ConfigurationError
from rollway.prefect.labels import (
    CAUSE,
    ENDPOINT,
    FAILED_TASK,
    MODEL,
    NEXT,
    NOT_RESTORED,
    STUDIO,
    TASK,
    TRAFFIC,
    WORKSPACE,
)
from rollway.prefect.triggers import PENDING_SECONDS, Automation, Message, SilenceCheck, Timing, duration, event, tag
from rollway.prefect.watcher_alerts import PREFIX, watcher_back, watcher_late
from rollway.spec import Frozen, RolloutSpec

TAG = "rollway-alerts"  # on every automation of ours; others are never touched
DEFAULT_CHANNEL = "rollway-alerts"
SILENCE_CHECK = "check-silent-run"  # flow and Prefect deployment
COMPLETED_EVENT = "rollway.rollout.completed"
HELD_EVENT = "rollway.rollout.held"
AFTER_FAILURE = "rollway.after-failure"  # label of COMPLETED_EVENT's resource, yes or no

REPEATED_SECONDS = 600  # the same end of the same attempt may be reported again for so long
MOST_CAUSE_CHARACTERS = 1500  # Slack and Teams cut or refuse much longer messages

_RUNS, _FOLDERS = "prefect.flow-run.*", "rollway.rollout.*"
FAILED_EVENTS = [f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut", "Cancelled")]
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
    """Return every wanted automation: four per channel; alerts about the watcher go to `channel`."""
    automations = [
        _crash_silent_runs(timing),
        _abort_cancelled_runs(timing),
        _silence_unchecked(channel, timing),
        watcher_late(channel, timing),
        watcher_back(channel, timing),
    ]
    alerted = [one for one in rollouts if one.severity != "none"]
    for used in sorted({one.channel for one in alerted}):
        automations += _of_channel(used, [one for one in alerted if one.channel == used], timing)
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
            expect=[*_SIGNS_OF_LIFE, *_NOT_RUNNING, *FAILED_EVENTS],
            match={"prefect.resource.id": _RUNS},
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
            match={"prefect.resource.id": _RUNS},
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
            expect=[*_DUE, "prefect.flow-run.Running", *_NOT_RUNNING, *FAILED_EVENTS],
            match={"prefect.resource.id": _RUNS},
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


def _of_channel(channel: str, rollouts: Sequence[AlertedRollout], timing: Timing) -> list[Automation]:
    """Return the automations for all rollouts of a channel."""
    tags = [tag(*(f"rollout:{one.rollout}" for one in rollouts))]
    endpoints = json.dumps({one.rollout: one.endpoint for one in rollouts if one.endpoint != one.rollout})
    severities = json.dumps({one.rollout: one.severity for one in rollouts if one.severity != "notify"})

    def made(kind: str, description: str, trigger: dict[str, Any], what: str, body: str) -> Automation:
        resource = trigger["match"]["prefect.resource.id"]
        given = "flow_run.parameters.rollout" if resource == _RUNS else "event.resource.name"
        head = (
            f"{{%- set rollout = ({given} | string).rstrip('/').split('/') | last -%}}"
            f"{{%- set endpoint = {endpoints}.get(rollout, rollout) -%}}"
            f"{{%- set severity = {severities}.get(rollout, 'notify') -%}}"
        )
        subject = f"{head}[{{{{ severity }}}}] rollout {{{{ rollout }}}}: {what}"
        message = Message(channel=channel, subject=subject, body=f"{head}{body}")
        name = f"{PREFIX}{kind} ({channel})"
        return Automation(name=name, description=description, trigger=trigger, action=message)

    def on(resource: str, expect: Sequence[str], *more: str, **times: Any) -> dict[str, Any]:
        match, for_each = {"prefect.resource.id": resource}, ["prefect.resource.id", *more]
        return event(expect=expect, match=match, match_related=tags, for_each=for_each, **times)

    recovered = on(_FOLDERS, [COMPLETED_EVENT])
    recovered["match"][AFTER_FAILURE] = "yes"
    return [
        made(
            "failed",
            "A rollout failed, crashed, timed out or was cancelled.",
            # A crash may be reported twice: by the run and by the check of silent runs, or again after a slow answer.
            on(_RUNS, FAILED_EVENTS, "prefect.run-count", "prefect.state-type", once_in=REPEATED_SECONDS),
            "{{ flow_run.state.name | default('ended', true) | lower }}",
            _CAUSE_AND_NEXT + _FACTS_OF_RUN,
        ),
        made(
            "waiting",
            "A rollout is due, but no worker runs it.",
            on(
                _RUNS,
                [*_DUE, "prefect.flow-run.Running", *_NOT_RUNNING, *FAILED_EVENTS],
                after=_DUE,
                absent_for=timing.waiting_seconds,
            ),
            "waiting for a worker",
            f"Cause: no worker has started the run within {duration(timing.waiting_seconds)}\n"
            "Next: check the work pool: is a worker alive, is its limit reached? The run then starts by itself. "
            f"If its worker died when it had taken the run, that becomes Crashed after {duration(PENDING_SECONDS)}\n"
            + _FACTS_OF_RUN,
        ),
        made(
            "held",
            "A progressive rollout waits for a person.",
            on(_FOLDERS, [HELD_EVENT]),
            "waits for a person",
            "Cause: {{ event.payload.why }}\n"
            "Next: rollway promote {{ endpoint }}, or rollway abort {{ endpoint }}; or run the flow steer-rollout\n"
            "{% if event.payload.promote %}Promote: {{ event.payload.promote }}\n"
            "Abort: {{ event.payload.abort }}\n{% endif %}" + _facts_of_event("endpoint", "workspace"),
        ),
        made(
            "recovered",
            "The first successful rollout after a failure.",
            recovered,
            "works again",
            _facts_of_event("endpoint", "workspace", "model", "outcome", "traffic", next_action="nothing"),
        ),
    ]


def _facts_of_event(*names: str, next_action: str = "") -> str:
    facts = "".join(f"{name.capitalize()}: {{{{ event.payload.{name} }}}}\n" for name in names)
    next_line = f"Next: {next_action}\n" if next_action else ""
    studio = "{% if event.payload.studio %}Studio: {{ event.payload.studio }}\n{% endif %}"
    return f"{facts}{next_line}{studio}Run: {{{{ flow_run|ui_url }}}}"


# The error of a task counts only if the run ended with it: a killed process has a cause of its own. Traffic that is not
# restored is worse than any other cause.
_CAUSE_AND_NEXT = f"""\
{{%- set type = flow_run.state.type.value | default('') -%}}
{{%- set is_worst = flow_run.labels['{TRAFFIC}'] == '{NOT_RESTORED}' -%}}
{{%- set said = flow_run.labels['{CAUSE}'] if type == 'FAILED' or is_worst -%}}
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
{{%- if flow_run.labels['{STUDIO}'] %}}
Studio: {{{{ flow_run.labels['{STUDIO}'] }}}}
{{%- endif %}}
Run: {{{{ flow_run|ui_url }}}}"""
