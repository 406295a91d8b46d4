"""The progress of a progressive rollout, as an artifact that grows with every look."""

from datetime import datetime

from rollway.reports.charts import (
    Bar,
    Mark,
    Point,
    as_image,
    errors_chart,
    evidence_chart,
    latency_chart,
    traffic_chart,
)
from rollway.reports.layout import cell
from rollway.rollout import traffic
from rollway.rollout.entries import Underway
from rollway.rollout.evidence import Counts, Judgement, Minute, compare_error_rates, wilson
from rollway.rollout.progress import Evidence, describe
from rollway.rollout.state import EndpointState
from rollway.spec import Progression


def markdown(rollout: str, endpoint: EndpointState, evidence: Evidence) -> str:
    """Return the artifact: the verdict first, then the pictures, then the steps."""
    found, progression = evidence.found, evidence.progression
    minutes, judged = evidence.minutes, evidence.judgement
    points, marks = [_point(one) for one in minutes], _marks(found, progression, judged)
    percentile = progression.judge.latency.percentile
    difference = compare_error_rates(minutes)
    bars = [Bar(name=one.name, evidence=one.evidence, limit=one.limit) for one in judged.measures if one.limit]
    lines = [
        f"## {rollout}: {describe(found, progression)}",
        "",
        f"**{judged.sentence[:1].upper()}{judged.sentence[1:]}**",
        "",
        f"Canary `{found.canary}`, traffic now {traffic.describe(endpoint.traffic)}.",
        "",
        as_image(traffic_chart(points, marks), "traffic over time"),
        "",
        as_image(errors_chart(points, marks, _interval), "error rates of canary and stable"),
        "",
        as_image(latency_chart(points, marks, percentile), f"latency P{percentile} of canary and stable"),
        "",
        as_image(evidence_chart(bars), "evidence against the canary, and its limits"),
        "",
        *([f"Difference of the error rates with its 95 % interval: {difference.sentence}.", ""] if difference else []),
        "| step | traffic | bake | gate | began |",
        "|---|---|---|---|---|",
    ]
    for number, step in enumerate(progression.steps, start=1):
        began = found.since[number - 1] if number <= found.number else ""
        gate = "yes" if step.gate else ""
        lines.append(f"| {number} | {step} | {step.bake_seconds} s | {gate} | {began} |")
    lines += ["", "| measure | verdict | why |", "|---|---|---|"]
    lines += [f"| {one.name} | {one.verdict.value} | {cell(one.sentence)} |" for one in judged.measures]
    return "\n".join(lines)


def _marks(found: Underway, progression: Progression, judged: Judgement) -> list[Mark]:
    labels = [str(step) for step in progression.steps]
    marks = [
        Mark(at=datetime.fromisoformat(at), label=label, verdict="successful")
        for at, label in zip(found.since, labels, strict=False)
    ]
    now = judged.verdict.value.replace("_", " ")
    return [*marks[:-1], marks[-1].model_copy(update={"verdict": now})] if marks else []


def _point(one: Minute) -> Point:
    return Point(
        at=one.at,
        canary_requests=one.canary.requests,
        canary_errors=one.canary.errors,
        stable_requests=one.stable.requests,
        stable_errors=one.stable.errors,
        canary_seconds=one.canary.latency_seconds,
        stable_seconds=one.stable.latency_seconds,
    )


def _interval(errors: int, requests: int) -> tuple[float, float]:
    return wilson(Counts(requests=requests, errors=errors)) if requests else (0.0, 1.0)
