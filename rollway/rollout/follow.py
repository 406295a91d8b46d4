"""Following a model: which of its versions automation rolls out, and why."""

import re
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime

from rollway.errors import WatchIncomplete
from rollway.rollout import traffic
from rollway.rollout.record import EndpointRecord
from rollway.rollout.state import EndpointState
from rollway.spec import Follow, Frozen, RolloutSpec

_IN_REGISTRY = re.compile(r"azureml://registries/([^/]+)/models/([^/]+)/(versions|labels)/([^/]+)", re.IGNORECASE)
_IN_WORKSPACE = re.compile(r"(?:azureml:)?/subscriptions/.*/models/([^/]+)/versions/([^/]+)", re.IGNORECASE)
_DIGITS = re.compile(r"(\d+)")


class Verdict(StrEnum):
    """Decision about the versions of a model."""

    UP_TO_DATE = "up_to_date"
    NOTHING_ELIGIBLE = "nothing_eligible"
    PAUSED = "paused"  # only a person rolls it forward again
    FROZEN = "frozen"
    START = "start"
    STARTED = "started"  # earlier; that run has its own result


class ModelSource(Frozen):
    """Name of a model in the workspace (`registry` is None) or in a registry."""

    name: str
    registry: str | None = None

    def __str__(self) -> str:
        return f"{self.registry}/{self.name}" if self.registry else self.name

    def is_same(self, other: Self) -> bool:
        """Return True if both are the same model; Azure ignores the case of names."""
        return str(self).lower() == str(other).lower()


class ModelVersion(Frozen):
    """A registered version; `created_at` decides which one is newer, not the text of the version."""

    name: str
    version: str
    id: str
    created_at: AwareDatetime
    tags: dict[str, str] = {}
    stage: str | None = None
    is_archived: bool = False


class LiveModel(Frozen):
    """The model of an online deployment that has traffic."""

    source: ModelSource
    version: str

    def __str__(self) -> str:
        return f"{self.source}:{self.version}"


class Skipped(Frozen):
    """A version that is not eligible."""

    version: str
    reason: str


class Choice(Frozen):
    """The newest version that may be rolled out, or None, and the newer ones that may not, newest first."""

    version: ModelVersion | None
    why: str
    skipped: tuple[Skipped, ...] = ()


class Finding(Frozen):
    """Finding about one rollout.

    `version` is the one to roll out, `live_version` the one with the most traffic, `run` the flow run started for it.
    """

    rollout: str
    endpoint: str
    model: str
    version: str | None
    live_version: str | None
    verdict: Verdict
    reason: str
    skipped: tuple[Skipped, ...] = ()
    idempotency_key: str | None = None
    run: str | None = None


class Look(Frozen):
    """Result of looking at one rollout: a finding, an error, or neither if it follows no model."""

    rollout: str
    finding: Finding | None = None
    error: str | None = None


def followed_model(spec: RolloutSpec) -> ModelSource | None:
    """Return the model that a rollout follows: `@latest` in deployment.yml, or any reference with `follow`."""
    reference = spec.online_deployment.model.reference if spec.online_deployment.model else None
    if reference is None:
        return None
    source, which = parse_reference(reference)
    return source if spec.rollout.follow is not None or which == "latest" else None


def parse_reference(reference: str) -> tuple[ModelSource, str]:
    """Return the model that a reference names, and its version; `latest` for that label."""
    if match := _IN_REGISTRY.fullmatch(reference):
        return ModelSource(registry=match[1], name=match[2]), match[4]
    if match := _IN_WORKSPACE.fullmatch(reference):
        return ModelSource(name=match[1]), match[2]
    name, separator, version = reference.partition("@" if "@" in reference else ":")
    return ModelSource(name=name), version if separator else "latest"


def live_models(endpoint: EndpointState) -> tuple[LiveModel, ...]:
    """Return the models of the proven traffic, heaviest first; those without a known model are left out."""
    found = []
    for name in traffic.served_by(endpoint.proven_traffic):
        online_deployment = endpoint.online_deployment(name)
        reference = (online_deployment.model or online_deployment.record.model) if online_deployment else None
        if reference:
            source, version = parse_reference(reference)
            found.append(LiveModel(source=source, version=version))
    return tuple(found)


def rejected_versions(record: EndpointRecord) -> frozenset[str]:
    """Return the rejected versions of a record as `<model>:<version>` in lower case."""
    return frozenset(one.lower() for one in record.rejected)


def newest_first(versions: Iterable[ModelVersion]) -> list[ModelVersion]:
    """Sort by creation time, then by version text with its numbers compared as numbers."""
    return sorted(versions, key=lambda one: (one.created_at, _natural(one.version), one.version), reverse=True)


def newest_eligible(
    versions: Iterable[ModelVersion], follow: Follow, now: AwareDatetime, rejected: Collection[str]
) -> Choice:
    """Return the version created last that meets all rules of `follow` and was not rejected."""
    skipped: list[Skipped] = []
    for one in newest_first(versions):
        reason = _why_not(one, follow, now, rejected)
        if reason is None:
            why = "newest version" if not skipped else f"newest eligible version, {_count(skipped)} skipped"
            return Choice(version=one, why=why, skipped=tuple(skipped))
        skipped.append(Skipped(version=one.version, reason=reason))
    why = "none of its versions is eligible" if skipped else "the model has no versions yet"
    return Choice(version=None, why=why, skipped=tuple(skipped))


def freezing_window(follow: Follow, now: AwareDatetime) -> str | None:
    """Return the freeze window that covers `now`, in words, or None."""
    return next((str(window) for window in follow.freeze if window.covers(now)), None)


def find(
    spec: RolloutSpec,
    source: ModelSource,
    versions: Sequence[ModelVersion],
    endpoint: EndpointState,
    workspace: str,
    now: AwareDatetime,
) -> Finding:
    """Return the finding about a rollout that follows `source`.

    Args:
        versions: All active versions of the model, and those behind the endpoint even if archived.
        workspace: Name of the workspace, for the idempotency key.
    """
    follow = spec.rollout.follow or Follow()
    choice = newest_eligible(versions, follow, now, rejected_versions(endpoint.record))
    live = live_models(endpoint)
    verdict, reason = decide(choice, source, live, versions, endpoint.record.pause_reason, freezing_window(follow, now))
    chosen = choice.version
    return Finding(
        rollout=spec.name,
        endpoint=endpoint.name,
        model=str(source),
        version=chosen.version if chosen else None,
        live_version=_live_version(live, source),
        verdict=verdict,
        reason=reason,
        skipped=choice.skipped,
        idempotency_key=idempotency_key(workspace, endpoint.name, source, chosen) if chosen else None,
    )


def require_complete(looks: Sequence[Look]) -> None:
    """Raise WatchIncomplete with all errors if a rollout could not be read or started."""
    failed = [one for one in looks if one.error is not None]
    if failed:
        raise WatchIncomplete(
            f"{len(failed)} of {len(looks)} rollouts could not be watched: {', '.join(one.rollout for one in failed)}",
            hint="fix each of the errors below; the next run of the watcher looks at all rollouts again",
            details="\n\n".join(f"{one.rollout}: {one.error}" for one in failed),
        )


def decide(
    choice: Choice,
    source: ModelSource,
    live: Sequence[LiveModel],
    versions: Iterable[ModelVersion],
    pause_reason: str,
    frozen: str | None,
) -> tuple[Verdict, str]:
    """Return the verdict over a choice, and its reason. Automation never goes back to an older version."""
    chosen = choice.version
    if chosen is None:
        return Verdict.NOTHING_ELIGIBLE, choice.why
    served = {one.version.lower() for one in live if one.source.is_same(source)}
    for one in newest_first(versions):
        if one.version.lower() in served:
            return Verdict.UP_TO_DATE, _up_to_date(one, choice)
        if one == chosen:
            break
    if pause_reason:
        return Verdict.PAUSED, f"{chosen.version} waits: {pause_reason}"
    if frozen:
        return Verdict.FROZEN, f"{chosen.version} waits for the end of {frozen}"
    return Verdict.START, choice.why


def idempotency_key(workspace: str, endpoint: str, source: ModelSource, version: ModelVersion) -> str:
    """Return the key that all runs which roll out the same version to the same endpoint share.

    A version that was deleted and registered again is another one: the time of creation tells them apart.
    """
    return f"{workspace}/{endpoint}:{source}:{version.version}@{version.created_at.isoformat()}"


def _why_not(one: ModelVersion, follow: Follow, now: AwareDatetime, rejected: Collection[str]) -> str | None:
    if one.is_archived:
        return "it is archived"
    if f"{one.name}:{one.version}".lower() in rejected:
        return "its rollout failed before; roll it out by hand to try again"
    for name, value in follow.tags.items():
        if one.tags.get(name) != value:
            return f"its tag {name} is {one.tags.get(name, '(not set)')}, not {value}"
    if follow.stage is not None and (one.stage or "").lower() != follow.stage.lower():
        return f"its stage is {one.stage or '(not set)'}, not {follow.stage}"
    age_seconds = (now - one.created_at).total_seconds()
    if age_seconds < follow.minimum_age_seconds:
        return f"it is {max(0.0, age_seconds):.0f} s old, not yet {follow.minimum_age_seconds} s"
    return None


def _up_to_date(live: ModelVersion, choice: Choice) -> str:
    if live == choice.version:
        return f"{live.version} is live, the {choice.why}"
    return f"{live.version} is live and newer than the {choice.why}"


def _live_version(live: Sequence[LiveModel], source: ModelSource) -> str | None:
    if not live:
        return None
    return live[0].version if live[0].source.is_same(source) else str(live[0])


def _count(skipped: Sequence[Skipped]) -> str:
    return f"{len(skipped)} newer"


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    parts = (part for part in _DIGITS.split(text.lower()) if part)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)
