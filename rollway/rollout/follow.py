"""Following a model: which of its versions a run rolls out, and why. One function for every trigger."""

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Self

from pydantic import AwareDatetime

from rollway.rollout import traffic
from rollway.rollout.fingerprint import digest_of, folder_digest
from rollway.rollout.state import EndpointState, ResolvedAsset, model_of
from rollway.spec import Follow, Frozen, RolloutSpec

_IN_REGISTRY = re.compile(r"azureml://registries/([^/]+)/models/([^/]+)/(versions|labels)/([^/]+)", re.IGNORECASE)
_IN_WORKSPACE = re.compile(r"(?:azureml:)?/subscriptions/.*/models/([^/]+)/versions/([^/]+)", re.IGNORECASE)
_DIGITS = re.compile(r"(\d+)")
LATEST = "latest"
NEVER = datetime.min.replace(tzinfo=UTC)  # the creation of a version of which it is not known


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

    @property
    def asset(self) -> ResolvedAsset:
        """The version as an asset of a rollout."""
        return ResolvedAsset(id=self.id, name=self.name, version=self.version)


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
    """The version that a run rolls out, or None, and the newer ones that it does not, newest first."""

    version: ModelVersion | None
    why: str
    skipped: tuple[Skipped, ...] = ()


def followed_model(spec: RolloutSpec) -> ModelSource | None:
    """Return the model that a rollout follows: `@latest` in deployment.yml, or any reference with `follow`."""
    reference = spec.online_deployment.model.reference if spec.online_deployment.model else None
    if reference is None:
        return None
    source, which = parse_reference(reference)
    return source if spec.rollout.follow is not None or which == LATEST else None


def parse_reference(reference: str) -> tuple[ModelSource, str]:
    """Return the model that a reference names, and its version; `latest` for that label."""
    if match := _IN_REGISTRY.fullmatch(reference):
        return ModelSource(registry=match[1], name=match[2]), match[4]
    if match := _IN_WORKSPACE.fullmatch(reference):
        return ModelSource(name=match[1]), match[2]
    name, separator, version = reference.partition("@" if "@" in reference else ":")
    return ModelSource(name=name), version if separator else LATEST


def live_models(endpoint: EndpointState) -> tuple[LiveModel, ...]:
    """Return the models of stable, heaviest first; those without a known model are left out."""
    found = []
    for name in traffic.served_by(endpoint.stable_traffic):
        online_deployment = endpoint.online_deployment(name)
        live = endpoint.record.live
        if online_deployment is not None:
            reference = online_deployment.model or model_of(online_deployment)
        else:  # a list of endpoints comes without their online deployments
            reference = live.model if live is not None and live.online_deployment.lower() == name else None
        if reference:
            source, version = parse_reference(reference)
            found.append(LiveModel(source=source, version=version))
    return tuple(found)


def serves_latest(source: ModelSource, latest: str | None, endpoint: EndpointState) -> bool:
    """Return True if a version is live that a list of models calls the latest one.

    Nothing is newer then: `choose` keeps to the live version, whatever the rules of the folder are. The record has no
    registry, so only the name of the model is compared.

    Args:
        source: The model of a folder.
        latest: The latest version; None if no list tells it.
    """
    return latest is not None and any(
        live.source.name.lower() == source.name.lower() and live.version.lower() == latest.lower()
        for live in live_models(endpoint)
    )


def unread_version(spec: RolloutSpec, source: ModelSource, version: str) -> ModelVersion:
    """Return a stand-in for a version of which only the number is known. It meets all rules of the folder."""
    follow = spec.rollout.follow or Follow()
    return ModelVersion(
        name=source.name,
        version=version,
        id=f"{source}:{version}",
        created_at=NEVER,
        tags=follow.tags,
        stage=follow.stage,
    )


def choose(
    spec: RolloutSpec,
    source: ModelSource,
    versions: Sequence[ModelVersion],
    endpoint: EndpointState,
    now: AwareDatetime,
) -> Choice:
    """Return the version that a run without a person's explicit version rolls out.

    The newest that `follow` allows and that was not rejected, or the one that deployment.yml names; but never an older
    one than the live one.

    Args:
        source: The model of the folder.
        versions: All active versions of the model, and those behind the endpoint even if archived.
    """
    chosen = _by_the_folder(spec, versions, endpoint, now)
    live = {one.version.lower() for one in live_models(endpoint) if one.source.is_same(source)}
    for one in newest_first(versions):
        if one == chosen.version:
            return chosen
        if one.version.lower() in live:
            why = f"{one.version} is live and newer than the {chosen.why}"
            return chosen.model_copy(update={"version": one, "why": why})
    return chosen


def _by_the_folder(
    spec: RolloutSpec, versions: Sequence[ModelVersion], endpoint: EndpointState, now: AwareDatetime
) -> Choice:
    if followed_model(spec) is None:
        reference = spec.online_deployment.model.reference if spec.online_deployment.model else None
        _, version = parse_reference(reference or "")
        found = next((one for one in versions if one.version == version), None)
        return Choice(version=found, why=_named(f"version {version} that deployment.yml names", found))
    rejected = frozenset(
        one.version for one in versions if endpoint.record.has_rejected(f"{one.name}:{one.version}", _digest(spec))
    )
    return newest_eligible(versions, spec.rollout.follow or Follow(), now, rejected)


def named(version: str, versions: Iterable[ModelVersion]) -> Choice:
    """Return the version that a request names."""
    found = next((one for one in versions if one.version.lower() == version.lower()), None)
    return Choice(version=found, why=_named(f"version {version} of the request", found))


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
            why = "newest version" if not skipped else f"newest eligible version, {len(skipped)} newer skipped"
            return Choice(version=one, why=why, skipped=tuple(skipped))
        skipped.append(Skipped(version=one.version, reason=reason))
    why = "newest eligible version: there is none" if skipped else "newest version: the model has none yet"
    return Choice(version=None, why=why, skipped=tuple(skipped))


def freezing_window(follow: Follow, now: AwareDatetime) -> str | None:
    """Return the freeze window that covers `now`, in words, or None."""
    return next((str(window) for window in follow.freeze if window.covers(now)), None)


def content_digest(model: str, spec: RolloutSpec) -> str:
    """Return 8 hex digits over a model version, `<name>:<version>`, and the folder: what a failure counts for."""
    return digest_of(f"{model}/{_digest(spec)}".lower())


def rejection(model: str, spec: RolloutSpec) -> str:
    """Return what the record remembers of a version that failed through its own fault."""
    return f"{model}/{_digest(spec)}"


def _named(what: str, found: ModelVersion | None) -> str:
    return what if found else f"{what}: there is none, or it is archived"


def _digest(spec: RolloutSpec) -> str:
    return folder_digest(spec.online_deployment)


def _why_not(one: ModelVersion, follow: Follow, now: AwareDatetime, rejected: Collection[str]) -> str | None:
    if one.is_archived:
        return "it is archived"
    if one.version in rejected:
        return "its rollout failed before; name it to try it again"
    for name, value in follow.tags.items():
        if one.tags.get(name) != value:
            return f"its tag {name} is {one.tags.get(name, '(not set)')}, not {value}"
    if follow.stage is not None and (one.stage or "").lower() != follow.stage.lower():
        return f"its stage is {one.stage or '(not set)'}, not {follow.stage}"
    age_seconds = (now - one.created_at).total_seconds()
    if age_seconds < follow.minimum_age_seconds:
        return f"it is {max(0.0, age_seconds):.0f} s old, not yet {follow.minimum_age_seconds} s"
    return None


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    parts = (part for part in _DIGITS.split(text.lower()) if part)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)
