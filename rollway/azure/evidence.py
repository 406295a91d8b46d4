"""The evidence of a progressive rollout in Azure Monitor, and its preflight: may it be read, and will it be enough."""

import math
from collections.abc import Awaitable, Sequence
from datetime import datetime, timedelta

from rollway.azure.errors.known import READ_METRICS
from rollway.azure.metrics import read_minutes, requests_of_last_hour
from rollway.azure.session import Session
from rollway.errors import AccessDenied, AzureUnavailable, NotFound, RequestRefused
from rollway.rollout.entries import Underway
from rollway.rollout.evidence import Minute, could_not_measure, hours_needed
from rollway.rollout.preflight import Finding, Severity
from rollway.rollout.progress import Evidence, compared_with, evidence_of
from rollway.rollout.state import EndpointState
from rollway.spec import Progression, RolloutSpec

SOURCE = "rollout.yml: judge.source"


async def read_rollout_minutes(
    session: Session, endpoint: EndpointState, found: Underway, progression: Progression
) -> Sequence[Minute]:
    """Return the minutes of a rollout that has begun, from Azure Monitor."""
    limits, mirrors = progression.judge, sum(step.mirror is not None for step in progression.steps)
    return await read_minutes(
        session,
        endpoint.name,
        found.canary,
        compared_with(endpoint),
        limits.latency.percentile,
        start=datetime.fromisoformat(found.since[0]),
        end=session.now() - timedelta(seconds=limits.lag_seconds),
        live_since=datetime.fromisoformat(found.since[mirrors]) if found.number > mirrors else None,
    )


async def judge_read(found: Underway, progression: Progression, reading: Awaitable[Sequence[Minute]]) -> Evidence:
    """Return the evidence that a reading gives, or the verdict that it could not be read."""
    try:
        return evidence_of(found, progression, await reading)
    except (AccessDenied, AzureUnavailable, NotFound, RequestRefused) as error:  # none of them is the canary's fault
        judged = could_not_measure(f"{error.what}: {error.why or 'Azure is unavailable'}")
        return Evidence(found=found, progression=progression, judgement=judged)


async def read_evidence(session: Session, endpoint: EndpointState) -> Evidence | None:
    """Return the evidence of the rollout that is under way; None if there is none, or none in Azure Monitor."""
    found, progression = endpoint.record.underway, endpoint.record.progression
    if found is None or not found.since or progression is None or progression.judge.source == "probes":
        return None
    return await judge_read(found, progression, read_rollout_minutes(session, endpoint, found, progression))


async def check_evidence(session: Session, spec: RolloutSpec, today: EndpointState) -> tuple[Finding, ...]:
    """Return a blocker if the identity may not read metrics, and a warning if a step would get too few requests."""
    progression = spec.rollout.progression
    if progression is None or progression.judge.source == "probes" or not today.exists:
        return ()
    try:
        hourly = await requests_of_last_hour(session, today.name)
    except AccessDenied as error:
        return (Finding(severity=Severity.BLOCKER, field=SOURCE, message=error.why or error.what, hint=READ_METRICS),)
    except (AzureUnavailable, NotFound) as error:
        message = f"the metrics could not be read: {error.why or error.what}"
        return (Finding(severity=Severity.WARNING, field=SOURCE, message=message, hint="run it again in a minute"),)
    if progression.judge.source == "both":
        return ()
    for step in progression.steps:
        hours = hours_needed(progression.judge, step.share, hourly)
        if hours * 3600 > 2 * step.bake_seconds:
            needs = f"needs {hours:.0f} h" if math.isfinite(hours) else "never ends: it needs requests"
            step_words = (
                f"at {step} of {hourly:g} requests/h this step {needs} for {progression.judge.minimum_requests}"
            )
            hint = "set judge.source to both, so that probes top up the requests, or bake longer"
            field = "rollout.yml: judge.minimum_requests"
            return (Finding(severity=Severity.WARNING, field=field, message=step_words, hint=hint),)
    return ()
