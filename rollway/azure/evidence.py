"""The preflight of a progressive rollout: may its metrics be read, and are there enough requests for a verdict."""

import math

from rollway.azure.errors.known import READ_METRICS
from rollway.azure.metrics import requests_of_last_hour
from rollway.azure.session import Session
from rollway.errors import AccessDenied, AzureUnavailable
from rollway.rollout.evidence import hours_needed
from rollway.rollout.preflight import Finding, Severity
from rollway.rollout.state import EndpointState
from rollway.spec import RolloutSpec

SOURCE = "rollout.yml: judge.source"


async def check_evidence(session: Session, spec: RolloutSpec, today: EndpointState) -> tuple[Finding, ...]:
    """Return a blocker if the identity may not read metrics, and a warning if a step would get too few requests."""
    progression = spec.rollout.progression
    if progression is None or progression.judge.source == "probes" or not today.exists:
        return ()
    try:
        hourly = await requests_of_last_hour(session, today.name)
    except AccessDenied as error:
        return (Finding(severity=Severity.BLOCKER, field=SOURCE, message=error.why or error.what, hint=READ_METRICS),)
    except AzureUnavailable as error:
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
