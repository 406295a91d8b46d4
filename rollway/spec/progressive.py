"""The part of rollout.yml that makes a rollout progressive: its steps, and how the evidence is judged."""

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from rollway.spec.values import Frozen

FULL_WEIGHT, MOST_MIRROR = 100, 50
DAY = 86_400
MOST_STEPS = 12
MOST_PATTERNS, MOST_PATTERN, MOST_PATH = 4, 48, 100  # the record keeps them
MINUTE_SECONDS = 60  # of a metric: its requests count when it is over
_MIN_REQUESTS_PER_SECOND = 0.01


class Step(Frozen):
    """One weight with its bake and its checks; or copies of live requests at weight 0."""

    weight: int | None = Field(default=None, ge=1, le=FULL_WEIGHT, description="Percent of the traffic for the canary.")
    mirror: int | None = Field(
        default=None,
        ge=1,
        le=MOST_MIRROR,
        description="Percent of live requests that the canary gets copies of, at weight 0; managed endpoints only.",
    )
    bake_seconds: int = Field(
        default=1800, ge=0, le=30 * DAY, description="How long evidence is gathered at least, in seconds."
    )
    gate: bool = Field(default=False, description="True if a person must confirm before the rollout advances.")

    @property
    def share(self) -> int:
        """Percent of the requests that the canary sees."""
        return self.weight or self.mirror or 0

    def __str__(self) -> str:
        return f"{self.weight} %" if self.weight else f"mirror {self.mirror} %"


class ErrorLimits(Frozen):
    """Limits of the canary's error rate."""

    tolerated_ratio: float = Field(
        default=1.0, ge=1, le=100, description="The canary may have this many times the error rate of stable."
    )
    maximum: float = Field(default=0.05, gt=0, lt=1, description="Maximum error rate of the canary, as a share of 1.")


class LatencyLimits(Frozen):
    """Limits of the canary's latency."""

    percentile: Literal[50, 90, 95, 99] = Field(default=95, description="The percentile that is compared.")
    tolerated_ratio: float = Field(
        default=1.2, ge=1, le=100, description="The canary may have this many times the latency of stable."
    )
    maximum_seconds: float | None = Field(
        default=None, gt=0, le=300, description="Maximum latency of the canary, in seconds. Default: no maximum."
    )


class Tolerance(Frozen):
    """The difference up to which two numbers agree: one of both limits is enough."""

    absolute: float = Field(default=1e-6, ge=0, description="Difference of the numbers.")
    relative: float = Field(default=0.01, ge=0, le=1, description="Difference as a share of stable's number.")


class Predictions(Frozen):
    """Recorded requests that stable and the canary must answer alike, before the canary gets any traffic."""

    requests: str = Field(
        min_length=1,
        max_length=MOST_PATH,
        description="Requests to send, one JSON document a line, relative to this folder.",
    )
    minimum_agreement: float = Field(
        default=0.98, gt=0, le=1, description="Share of the requests that must be answered alike."
    )
    tolerance: Tolerance = Tolerance()
    ignore: tuple[Annotated[str, Field(min_length=1, max_length=MOST_PATTERN)], ...] = Field(
        default=(),
        max_length=MOST_PATTERNS,
        description="Fields of an answer that may differ, such as $.request_id or $.timings.*",
    )
    sample: int = Field(default=200, ge=1, le=10_000, description="Maximum number of requests, evenly spread.")
    minimum_requests: int = Field(default=50, ge=1, le=10_000, description="Fewer requests give no verdict.")
    requests_per_second: float = Field(
        default=5.0, ge=_MIN_REQUESTS_PER_SECOND, le=1000, description="Maximum rate, so that stable is not overloaded."
    )
    on_disagreement: Literal["hold", "abort", "warn"] = Field(
        default="hold", description="What follows too little agreement; a better model disagrees, too."
    )


class Probes(Frozen):
    """Requests that Rollway sends to stable and the canary in turns, pinned."""

    requests: str | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_PATH,
        description="Requests to send, one JSON document a line, relative to this folder. Default: the smoke test's.",
    )
    requests_per_second: float = Field(
        default=2.0, ge=_MIN_REQUESTS_PER_SECOND, le=1000, description="Rate for each of both."
    )


class Judge(Frozen):
    """The limits by which the evidence of a step is judged."""

    errors: ErrorLimits = ErrorLimits()
    latency: LatencyLimits = LatencyLimits()
    predictions: Predictions | None = Field(
        default=None, description="Compare the answers of both before any traffic moves. Default: do not."
    )
    minimum_requests: int = Field(
        default=300, ge=1, le=10_000_000, description="Requests of the canary in a step that make a verdict possible."
    )
    source: Literal["metrics", "probes", "both"] = Field(
        default="metrics",
        description="metrics: requests of clients, from Azure Monitor; probes: requests of Rollway itself; both: "
        "probes top up what Azure Monitor counts.",
    )
    probes: Probes = Probes()
    lag_seconds: int = Field(
        default=240, ge=0, le=3600, description="How late Azure Monitor has all requests of a minute, in seconds."
    )
    on_inconclusive: Literal["hold", "abort", "promote"] = Field(
        default="hold", description="What follows if there is still no verdict after twice the bake."
    )
    on_failure: Literal["abort", "hold"] = Field(
        default="abort", description="What follows if the canary is worse than the limits."
    )


def probes_of(judge: Judge) -> int:
    """Return the number of probes in a look: some more than needed, because a throttled one tells nothing."""
    return judge.minimum_requests + judge.minimum_requests // 10 + 1


def default_steps() -> tuple[Step, ...]:
    """Return the steps of `strategy: progressive` alone."""
    return (Step(weight=5), Step(weight=25, bake_seconds=3600), Step(weight=FULL_WEIGHT, bake_seconds=7200))


class Progression(Frozen):
    """The steps of a progressive rollout, and how it is judged; the candidate keeps it from its creation on."""

    steps: tuple[Step, ...]
    judge: Judge = Judge()
    deadline_seconds: int = 2 * DAY

    @property
    def seconds(self) -> int:
        """The time that its steps take at least, in seconds."""
        return sum(step.bake_seconds + late_seconds(self) for step in self.steps)

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the progression of a text that `str` made, or None."""
        try:
            return cls.model_validate_json(text) if text else None
        except ValueError:
            return None

    def __str__(self) -> str:
        return self.model_dump_json(exclude_defaults=True)


def late_seconds(progression: Progression) -> int:
    """Return how long after a minute its evidence is complete, in seconds."""
    return 0 if progression.judge.source == "probes" else progression.judge.lag_seconds + MINUTE_SECONDS


def check_progression(found: Progression, kind: str) -> Iterator[tuple[str, str]]:
    """Yield everything that makes no sense, as field and message.

    Args:
        kind: `managed` or `kubernetes`.
    """
    weights = [step.weight for step in found.steps if step.weight is not None]
    for number, step in enumerate(found.steps):
        field = f"steps.{number}"
        if (step.weight is None) == (step.mirror is None):
            yield field, "needs a weight or a mirror, and only one of them"
        if step.mirror is not None and kind == "kubernetes":
            yield f"{field}.mirror", "Kubernetes online endpoints have no mirrored traffic"
        if step.mirror is not None and any(one.weight for one in found.steps[:number]):
            yield f"{field}.mirror", "must come before the first weight"
    if any(later <= earlier for earlier, later in itertools.pairwise(weights)):
        yield "steps", f"the weights must grow: {', '.join(map(str, weights))}"
    if not weights or weights[-1] != FULL_WEIGHT:
        yield "steps", f"the last step must have weight {FULL_WEIGHT}"
    if found.steps and found.steps[-1].gate:
        yield f"steps.{len(found.steps) - 1}.gate", "nothing comes after the last step that a person could confirm"
    yield from _check_times(found, kind)


def _check_times(found: Progression, kind: str) -> Iterator[tuple[str, str]]:
    judge = found.judge
    if judge.source != "metrics":
        for number, step in enumerate(found.steps):
            needs = probes_of(judge) / judge.probes.requests_per_second
            if step.bake_seconds < needs:
                message = (
                    f"is too short for minimum_requests: {probes_of(judge)} probes at "
                    f"{judge.probes.requests_per_second:g} requests/s take {math.ceil(needs)} s"
                )
                yield f"steps.{number}.bake_seconds", message
    if judge.source != "probes" and kind == "kubernetes":
        yield "judge.source", "Azure Monitor has no metrics of Kubernetes online endpoints; use probes"
    if found.deadline_seconds <= found.seconds:
        yield "deadline_seconds", f"must be longer than the steps, which take {found.seconds} s at least"


def shapes() -> dict[str, Any]:
    """Return the classes by the key of rollout.yml under which they stand."""
    return {
        "steps": Step,
        "judge": Judge,
        "errors": ErrorLimits,
        "latency": LatencyLimits,
        "predictions": Predictions,
        "tolerance": Tolerance,
        "probes": Probes,
    }
