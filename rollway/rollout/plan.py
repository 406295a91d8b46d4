"""The plan: from what the folder wants and what Azure has, what one rollout does and why, field by field."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from pydantic import JsonValue

from rollway.rollout import traffic
from rollway.rollout.fingerprint import fingerprint, online_deployment_name
from rollway.rollout.state import (
    CODE,
    FINGERPRINT,
    MODEL,
    TAG_PREFIX,
    EndpointState,
    OnlineDeploymentState,
    ResolvedAsset,
)
from rollway.spec import EndpointSpec, Frozen, RolloutSpec


class Action(StrEnum):
    """What happens to the online deployment."""

    NO_OP = "no-op"
    IN_PLACE = "in-place"
    NEW = "new online deployment"


class Change(Frozen):
    """One field that differs; values are rendered for people."""

    field: str
    today: str
    wanted: str


class Plan(Frozen):
    """What one rollout does. `tags` are those the online deployment is to carry."""

    action: Action
    endpoint: str
    online_deployment: str
    fingerprint: str
    model: ResolvedAsset | None
    environment: ResolvedAsset | None
    instance_count: int
    tags: dict[str, str]
    changes: tuple[Change, ...]
    traffic_before: dict[str, int]
    traffic_after: dict[str, int]
    creates_endpoint: bool = False
    endpoint_changes: tuple[Change, ...] = ()

    @property
    def is_no_op(self) -> bool:
        """Whether Azure already is as the folder wants it."""
        return self.action is Action.NO_OP and not self.endpoint_changes

    @property
    def replaces(self) -> tuple[str, ...]:
        """The online deployments whose traffic is taken over, heaviest first."""
        return tuple(name for name in traffic.served_by(self.traffic_before) if name != self.online_deployment)


def plan(
    spec: RolloutSpec, model: ResolvedAsset | None, environment: ResolvedAsset | None, endpoint: EndpointState
) -> Plan:
    """Decides what to do; total and deterministic, so it can be tried on any state."""
    wanted = spec.online_deployment
    digest = fingerprint(wanted, model.id or str(model) if model else None, environment.id if environment else None)
    name = online_deployment_name(wanted.name, digest)
    own = {FINGERPRINT: digest, CODE: (wanted.code_sha256 or "")[:12], MODEL: str(model) if model else ""}
    tags = {**wanted.tags, **{key: value for key, value in own.items() if value}}
    existing = endpoint.online_deployment(name)
    serving = traffic.served_by(endpoint.traffic)
    if existing is not None and existing.is_succeeded and serving == (name,):
        changes = tuple(_in_place_changes(existing, wanted.instance_count, tags))
        action = Action.IN_PLACE if changes else Action.NO_OP
    else:
        live = endpoint.online_deployment(serving[0]) if serving else None
        changes = tuple(_identity_changes(spec, model, environment, live, name)) or (
            Change(field="traffic", today=traffic.describe(endpoint.traffic), wanted=traffic.describe({name: 100})),
        )
        action = Action.NEW
    return Plan(
        action=action,
        endpoint=endpoint.name,
        online_deployment=name,
        fingerprint=digest,
        model=model,
        environment=environment,
        instance_count=wanted.instance_count,
        tags=tags,
        changes=changes,
        traffic_before={key: weight for key, weight in endpoint.traffic.items() if weight},
        traffic_after=traffic.all_to(name),
        creates_endpoint=not endpoint.exists,
        endpoint_changes=endpoint_changes(spec.endpoint, endpoint) if endpoint.exists else (),
    )


def endpoint_changes(wanted: EndpointSpec, today: EndpointState) -> tuple[Change, ...]:
    """The fields of endpoint.yml in which Azure differs; tags that the file does not name are kept."""
    pairs: list[tuple[str, JsonValue, JsonValue]] = [
        ("auth_mode", today.auth_mode, wanted.auth_mode),
        ("public_network_access", today.public_network_access, wanted.public_network_access),
    ]
    if wanted.description is not None:
        pairs.append(("description", today.description, wanted.description))
    pairs += [(f"tags.{key}", today.tags.get(key), value) for key, value in wanted.tags.items()]
    return tuple(_differences(pairs))


def _in_place_changes(today: OnlineDeploymentState, instance_count: int, tags: Mapping[str, str]) -> Iterator[Change]:
    own = {key: value for key, value in tags.items() if not key.startswith(TAG_PREFIX)}
    yield from _differences(
        [
            ("instance_count", today.instance_count, instance_count),
            *[(f"tags.{key}", today.tags.get(key), value) for key, value in own.items()],
        ]
    )


def _identity_changes(
    spec: RolloutSpec,
    model: ResolvedAsset | None,
    environment: ResolvedAsset | None,
    live: OnlineDeploymentState | None,
    name: str,
) -> Iterator[Change]:
    wanted = spec.online_deployment
    if live is None:
        yield Change(field="online deployment", today="none serves traffic", wanted=name)
        return
    pairs: list[tuple[str, JsonValue, JsonValue]] = [
        ("online deployment", live.name, name),
        ("model", _short(live.model), str(model) if model else None),
        ("environment", _short(live.environment), str(environment) if environment else None),
        ("code", live.tags.get(CODE), (wanted.code_sha256 or "")[:12] or None),
    ]
    flat_live = dict(_flatten(live.settings))
    pairs += [(field, flat_live.get(field), value) for field, value in _flatten(wanted.settings)]
    yield from _differences(pairs)


def _differences(pairs: list[tuple[str, JsonValue, JsonValue]]) -> Iterator[Change]:
    for field, today, wanted in pairs:
        if today != wanted:
            yield Change(field=field, today=_text(today), wanted=_text(wanted))


def _flatten(settings: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _short(asset_id: str | None) -> str | None:
    # ".../models/diabetes/versions/3" -> "diabetes:3"
    parts = (asset_id or "").split("/")
    return f"{parts[-3]}:{parts[-1]}" if len(parts) >= 3 and parts[-2].lower() == "versions" else asset_id


def _text(value: JsonValue) -> str:
    return "(not set)" if value is None else str(value)
