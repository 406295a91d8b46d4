"""The plan: from what the folder wants and what Azure has, what one rollout does and why, field by field."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from pydantic import JsonValue

from rollway.rollout import traffic
from rollway.rollout.fingerprint import fingerprint, online_deployment_name
from rollway.rollout.lease import decode
from rollway.rollout.preflight import Finding
from rollway.rollout.state import (
    CODE,
    CREATED_BY,
    FINGERPRINT,
    LEASE,
    MODEL,
    PREVIOUS,
    RUN,
    TAG_PREFIX,
    EndpointState,
    OnlineDeploymentState,
    ResolvedAsset,
    model_of,
    short_id,
)
from rollway.spec import EndpointSpec, Frozen, RolloutSpec


class Kind(StrEnum):
    """What an action does, in the order in which a rollout does them."""

    CREATE_ENDPOINT = "create endpoint"
    UPDATE_ENDPOINT = "change endpoint"
    REMOVE = "remove leftover"
    WAIT = "wait for"
    CREATE = "create online deployment"
    ADOPT = "adopt online deployment"
    GO_BACK = "go back to"
    UPDATE = "change in place"
    MOVE_TRAFFIC = "move traffic"
    PROVE = "smoke-test live traffic"
    RETIRE = "retire"
    TAKE_OVER = "take over"


class Change(Frozen):
    """One field that differs; values are rendered for people."""

    field: str
    today: str
    wanted: str


class Action(Frozen):
    """One thing that a rollout does, to what, and why; `changes` are the fields that decide it."""

    kind: Kind
    target: str
    why: str
    changes: tuple[Change, ...] = ()


class Plan(Frozen):
    """What one rollout does; nothing when Azure already is as the folder wants it.

    `tags` are those the online deployment is to carry. `traffic_proven` is where traffic returns to when the rollout
    fails. `written_by` and `moved_by` are the run attempts whose online deployment and traffic are there already as
    wanted, None where this rollout has yet to write. `previous` is what serves most until then, as
    `<online deployment>=<model>:<version>`. `drift` is what somebody else changed of what Rollway created,
    `findings` what the preflight found.
    """

    endpoint: str
    online_deployment: str
    fingerprint: str
    model: ResolvedAsset | None
    environment: ResolvedAsset | None
    instance_count: int
    tags: dict[str, str]
    actions: tuple[Action, ...]
    traffic_before: dict[str, int]
    traffic_proven: dict[str, int]
    traffic_after: dict[str, int]
    written_by: str | None = None
    moved_by: str | None = None
    previous: str | None = None
    drift: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def is_no_op(self) -> bool:
        """Whether Azure already is as the folder wants it."""
        return not self.actions

    def has(self, kind: Kind) -> bool:
        """Whether the plan contains such an action."""
        return any(action.kind is kind for action in self.actions)

    def targets(self, kind: Kind) -> tuple[str, ...]:
        """What the actions of a kind are done to."""
        return tuple(action.target for action in self.actions if action.kind is kind)

    @property
    def replaces(self) -> tuple[str, ...]:
        """The online deployments whose traffic is taken over, heaviest first."""
        before = _serving_today_or_proven(self.traffic_before, self.traffic_proven)
        return tuple(name for name in before if not self.traffic_after.get(name))


def plan(
    spec: RolloutSpec,
    model: ResolvedAsset | None,
    environment: ResolvedAsset | None,
    endpoint: EndpointState,
    *,
    weight: int = 100,
    force: str = "",
) -> Plan:
    """Decides what to do from any state of Azure; total and deterministic.

    `weight` below 100 leaves the rest of the traffic where it is. `force` rolls out anew although nothing differs: any
    text that stays the same for the attempts of one run, and differs from run to run.
    """
    wanted = spec.online_deployment
    digest = fingerprint(wanted, model.id or str(model) if model else None, environment.id if environment else None)
    existing, name = _candidate(endpoint, wanted.name, digest, force)
    own = {FINGERPRINT: digest, CODE: (wanted.code_sha256 or "")[:12], MODEL: str(model) if model else ""}
    tags = {**wanted.tags, **{key: value for key, value in own.items() if value}}
    today = {key: share for key, share in endpoint.traffic.items() if share}
    after = traffic.shift(endpoint.proven_traffic, name, weight)

    writes = tuple(_writes(spec, model, environment, endpoint, existing, name, tags))
    moves = tuple(_moves(endpoint, name, after))
    previous = _previous(endpoint, after)
    actions = (
        *_endpoint_actions(spec, endpoint),
        *_leftovers(endpoint, name, spec.rollout.replaced == "keep"),
        *writes,
        *moves,
        *_retirements(spec, endpoint, after, previous),
    )
    return Plan(
        endpoint=endpoint.name,
        online_deployment=name,
        fingerprint=digest,
        model=model,
        environment=environment,
        instance_count=wanted.instance_count,
        tags=tags,
        actions=actions or tuple(_takeover(endpoint)),
        traffic_before=today,
        traffic_proven=endpoint.proven_traffic,
        traffic_after=after,
        written_by=existing.tags.get(RUN, "") if existing is not None and not _is_rewritten(writes) else None,
        moved_by=endpoint.tags.get(RUN, "") if not any(one.kind is Kind.MOVE_TRAFFIC for one in moves) else None,
        previous=previous,
        drift=tuple(_drift(spec, model, environment, existing)) if existing is not None else (),
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


def _candidate(endpoint: EndpointState, base: str, digest: str, force: str) -> tuple[OnlineDeploymentState | None, str]:
    """The online deployment that already is what the folder describes, one that serves first; and its name.

    Its fingerprint tag tells, not its name, because a forced rollout has another name for the same content.
    """
    if not force:
        same = [
            one
            for one in endpoint.online_deployments
            if one.tags.get(FINGERPRINT) == digest
            and not one.is_being_deleted
            and (not one.is_failed or _has_served(endpoint, one.name))
        ]
        best = max(same, key=lambda one: (endpoint.weight_of(one.name) > 0, one.is_succeeded, one.name), default=None)
        if best is not None:
            return best, best.name
    name = online_deployment_name(base, digest, force)
    return endpoint.online_deployment(name), name


def _has_served(endpoint: EndpointState, name: str) -> bool:
    return endpoint.weight_of(name) > 0 or name.lower() in {key.lower() for key in endpoint.proven_traffic}


def _endpoint_actions(spec: RolloutSpec, endpoint: EndpointState) -> Iterator[Action]:
    if not endpoint.exists:
        yield Action(kind=Kind.CREATE_ENDPOINT, target=endpoint.name, why="there is no endpoint of that name")
    elif changes := endpoint_changes(spec.endpoint, endpoint):
        yield Action(
            kind=Kind.UPDATE_ENDPOINT, target=endpoint.name, why="it is not as endpoint.yml says", changes=changes
        )
    if endpoint.exists and not endpoint.is_settled:
        why = f"an operation is running on it, it is {endpoint.provisioning_state}"
        yield Action(kind=Kind.WAIT, target=endpoint.name, why=why)


def _leftovers(endpoint: EndpointState, name: str, keeps_previous: bool) -> Iterator[Action]:
    """Online deployments that earlier rollouts left without traffic; whatever Rollway did not create is not touched."""
    kept = {key.lower() for key in endpoint.proven_traffic}
    if keeps_previous:
        kept.add(_name_in(endpoint.tags.get(PREVIOUS)))
    for one in endpoint.online_deployments:
        is_ours = CREATED_BY in one.tags or one.name.lower() == _name_in(endpoint.tags.get(PREVIOUS))
        if one.name.lower() in (name.lower(), *kept) or not is_ours or one.is_being_deleted:
            continue
        if endpoint.weight_of(one.name) or endpoint.mirror_traffic.get(one.name):
            continue
        why = f"an earlier rollout left it without traffic, {one.provisioning_state}"
        yield Action(kind=Kind.REMOVE, target=one.name, why=why)


def _writes(
    spec: RolloutSpec,
    model: ResolvedAsset | None,
    environment: ResolvedAsset | None,
    endpoint: EndpointState,
    existing: OnlineDeploymentState | None,
    name: str,
    tags: Mapping[str, str],
) -> Iterator[Action]:
    live_names = traffic.served_by(endpoint.traffic)
    live = endpoint.online_deployment(live_names[0]) if live_names else None
    reasons = tuple(_identity_changes(spec, model, environment, live, name))
    if existing is None:
        yield Action(kind=Kind.CREATE, target=name, why="nothing there is what the folder describes", changes=reasons)
        return
    serves = endpoint.weight_of(name) > 0
    if existing.is_being_deleted:
        yield Action(kind=Kind.WAIT, target=name, why="it is being deleted")
        yield Action(kind=Kind.CREATE, target=name, why="it was being deleted", changes=reasons)
    elif existing.is_failed and not _has_served(endpoint, name):
        why = f"it is {existing.provisioning_state}, and Azure cannot repair a failed first provisioning"
        yield Action(kind=Kind.REMOVE, target=name, why=why)
        yield Action(kind=Kind.CREATE, target=name, why="the earlier attempt failed", changes=reasons)
    else:
        if not existing.is_settled:
            yield Action(
                kind=Kind.WAIT, target=name, why=f"an operation is running, it is {existing.provisioning_state}"
            )
        changes = tuple(_in_place_changes(existing, spec.online_deployment.instance_count, tags))
        if changes or existing.is_failed:
            why = "its last change failed" if existing.is_failed else "these fields change without a new one"
            yield Action(kind=Kind.UPDATE, target=name, why=why, changes=changes)
        elif not serves:
            created_by = existing.tags.get(CREATED_BY, "somebody else")
            yield Action(kind=Kind.ADOPT, target=name, why=f"it is what the folder describes, created by {created_by}")


def _is_rewritten(writes: tuple[Action, ...]) -> bool:
    return any(action.kind in (Kind.CREATE, Kind.UPDATE) for action in writes)


def _takeover(endpoint: EndpointState) -> Iterator[Action]:
    # Only where nothing else is to be done: everything that writes takes the endpoint over in any case.
    held = decode(endpoint.tags.get(LEASE))
    if held is not None:
        why = f"{held.holder} has not given it back: it is waited for, or followed where it has ended"
        yield Action(kind=Kind.TAKE_OVER, target=endpoint.name, why=why)


def _moves(endpoint: EndpointState, name: str, after: Mapping[str, int]) -> Iterator[Action]:
    if not traffic.is_same(endpoint.traffic, after):
        change = Change(field="traffic", today=traffic.describe(endpoint.traffic), wanted=traffic.describe(after))
        yield Action(kind=Kind.MOVE_TRAFFIC, target=name, why="traffic goes elsewhere", changes=(change,))
    elif endpoint.is_unproven:
        why = "a rollout moved traffic here and ended before it was smoke-tested"
        yield Action(kind=Kind.PROVE, target=name, why=why)


def _retirements(
    spec: RolloutSpec, endpoint: EndpointState, after: Mapping[str, int], previous: str | None
) -> Iterator[Action]:
    """What no longer serves; under `keep` all but the one that served most, which takes the place of the last kept."""
    serving = {key.lower() for key in after}
    keeps = spec.rollout.replaced == "keep"
    kept, last_kept = _name_in(previous), _name_in(endpoint.tags.get(PREVIOUS))
    candidates = [*_serving_today_or_proven(endpoint.traffic, endpoint.proven_traffic)]
    if keeps and kept and last_kept and last_kept not in (kept, *candidates):
        candidates.append(last_kept)
    for name in candidates:
        found = endpoint.online_deployment(name)
        if found is None or name.lower() in serving:
            continue
        if not keeps:
            yield Action(kind=Kind.RETIRE, target=name, why="its traffic is taken over, and rollout.yml says delete")
        elif name != kept and CREATED_BY in found.tags:
            yield Action(kind=Kind.RETIRE, target=name, why="rollout.yml keeps only the one that was replaced last")


def _serving_today_or_proven(today: Mapping[str, int], proven: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*traffic.served_by(today), *traffic.served_by(proven)]))


def _previous(endpoint: EndpointState, after: Mapping[str, int]) -> str | None:
    for name in traffic.served_by(endpoint.proven_traffic):
        found = endpoint.online_deployment(name)
        if found is not None and name not in {key.lower() for key in after}:
            return f"{found.name}={model_of(found) or ''}"
    return None


def _name_in(previous: str | None) -> str:
    return (previous or "").partition("=")[0].lower()


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
    if live is None:
        yield Change(field="online deployment", today="none serves traffic", wanted=name)
        return
    code = (spec.online_deployment.code_sha256 or "")[:12] or None
    yield from _differences([("online deployment", live.name, name), ("code", live.tags.get(CODE), code)])
    yield from _content_changes(spec, model, environment, live)


def _drift(
    spec: RolloutSpec, model: ResolvedAsset | None, environment: ResolvedAsset | None, existing: OnlineDeploymentState
) -> Iterator[Change]:
    # Without its fingerprint it is not something that Rollway created from these fields.
    if existing.is_settled and existing.tags.get(FINGERPRINT):
        yield from _content_changes(spec, model, environment, existing)


def _content_changes(
    spec: RolloutSpec, model: ResolvedAsset | None, environment: ResolvedAsset | None, today: OnlineDeploymentState
) -> Iterator[Change]:
    pairs: list[tuple[str, JsonValue, JsonValue]] = [
        ("model", short_id(today.model), str(model) if model else None),
        ("environment", short_id(today.environment), str(environment) if environment else None),
    ]
    flat_today = dict(_flatten(today.settings))
    pairs += [(field, flat_today.get(field), value) for field, value in _flatten(spec.online_deployment.settings)]
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


def _text(value: JsonValue) -> str:
    return "(not set)" if value is None else str(value)
