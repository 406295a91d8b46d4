"""The plan: what one rollout does to bring Azure to what the folder wants, and why, field by field."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from pydantic import JsonValue

from rollway.rollout import traffic
from rollway.rollout.changes import Change, differences, setting_changes
from rollway.rollout.fingerprint import (
    NAME_AFTER_REGISTRATION,
    fingerprint,
    is_same_content,
    online_deployment_name,
)
from rollway.rollout.preflight import Finding
from rollway.rollout.record import OnlineDeploymentRecord, Served
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset, model_of, short_id
from rollway.spec import EndpointSpec, Frozen, OnlineDeploymentSpec, RolloutSpec


class Kind(StrEnum):
    """Kinds of actions, in the order in which a rollout does them."""

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


class Action(Frozen):
    """One thing that a rollout does, its target, its reason, and the fields that decide it."""

    kind: Kind
    target: str
    why: str
    changes: tuple[Change, ...] = ()


class Plan(Frozen):
    """The actions of one rollout; none if Azure already is as the folder wants it.

    Attributes:
        tags: Tags of the online deployment, as deployment.yml names them.
        record: Record of the online deployment: fingerprint, model and code.
        traffic_before: Percent by online deployment, as are the other traffic maps.
        traffic_proven: The traffic to return to if the rollout fails.
        written_by: The attempt that already wrote the online deployment as wanted; None if this rollout must write it.
        moved_by: The attempt that already moved traffic as wanted; None if this rollout must move it.
        previous: The online deployment that is replaced; of several the one with the most traffic.
        drift: Fields that somebody else changed on an online deployment that Rollway created.
        findings: Findings of the preflight.
    """

    endpoint: str
    online_deployment: str
    model: ResolvedAsset | None
    environment: ResolvedAsset | None
    instance_count: int
    tags: dict[str, str]
    record: OnlineDeploymentRecord
    actions: tuple[Action, ...]
    traffic_before: dict[str, int]
    traffic_proven: dict[str, int]
    traffic_after: dict[str, int]
    written_by: str | None = None
    moved_by: str | None = None
    previous: Served | None = None
    drift: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def is_no_op(self) -> bool:
        """True if Azure already is as the folder wants it."""
        return not self.actions

    def has(self, kind: Kind) -> bool:
        """Return True if the plan contains an action of that kind."""
        return any(action.kind is kind for action in self.actions)

    def targets(self, kind: Kind) -> tuple[str, ...]:
        """Return the targets of all actions of a kind."""
        return tuple(action.target for action in self.actions if action.kind is kind)

    @property
    def replaces(self) -> tuple[str, ...]:
        """The online deployments that lose their traffic, heaviest first."""
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
    """Return the plan from any state of Azure; total and deterministic.

    Args:
        weight: Percent of traffic for the new online deployment; below 100 the others keep the rest.
        force: If not empty, roll out again even if nothing changed. A text that is the same for all attempts of a run
            and differs between runs.
    """
    wanted = spec.online_deployment
    existing, name, digest = _candidate(endpoint, wanted, model, environment, force)
    record = OnlineDeploymentRecord(
        fingerprint=digest, code=(wanted.code_sha256 or "")[:12] or None, model=str(model) if model else None
    )
    after = traffic.shift(endpoint.proven_traffic, name, weight)

    writes = tuple(_writes(spec, model, environment, endpoint, existing, name))
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
        model=model,
        environment=environment,
        instance_count=wanted.instance_count,
        tags=wanted.tags,
        record=record,
        actions=actions or tuple(_takeover(endpoint)),
        traffic_before=endpoint.serving,
        traffic_proven=endpoint.proven_traffic,
        traffic_after=after,
        written_by=existing.record.written_by or "" if existing is not None and not _is_rewritten(writes) else None,
        moved_by=endpoint.record.moved_by or "" if not any(one.kind is Kind.MOVE_TRAFFIC for one in moves) else None,
        previous=previous,
        drift=tuple(_drift(spec, model, environment, existing)) if existing is not None else (),
    )


def endpoint_changes(wanted: EndpointSpec, today: EndpointState) -> tuple[Change, ...]:
    """Return the fields of endpoint.yml in which Azure differs; tags that the file does not name are kept."""
    pairs: list[tuple[str, JsonValue, JsonValue]] = [
        ("auth_mode", today.auth_mode, wanted.auth_mode),
        ("public_network_access", today.public_network_access, wanted.public_network_access),
    ]
    if wanted.description is not None:
        pairs.append(("description", today.description, wanted.description))
    pairs += [(f"tags.{key}", today.tags.get(key), value) for key, value in wanted.tags.items()]
    return tuple(differences(pairs))


def _candidate(
    endpoint: EndpointState,
    wanted: OnlineDeploymentSpec,
    model: ResolvedAsset | None,
    environment: ResolvedAsset | None,
    force: str,
) -> tuple[OnlineDeploymentState | None, str, str]:
    """Return the online deployment that already is what the folder describes, if any, the name to use, and the
    fingerprint, which is empty in a dry run before the first registration of an asset.

    Its fingerprint decides, not its name, because a forced rollout has another name for the same content. One that
    serves traffic is preferred.
    """
    if any(asset is not None and asset.id is None for asset in (model, environment)):
        return None, NAME_AFTER_REGISTRATION, ""
    ids = (model.id if model else None, environment.id if environment else None)
    if not force:
        same = [
            one
            for one in endpoint.online_deployments
            if is_same_content(one.record.fingerprint, wanted, *ids)
            and not one.is_being_deleted
            and (not one.is_failed or _has_served(endpoint, one.name))
        ]
        best = max(same, key=lambda one: (endpoint.weight_of(one.name) > 0, one.is_succeeded, one.name), default=None)
        if best is not None:
            return best, best.name, fingerprint(wanted, *ids)
    digest = fingerprint(wanted, *ids)
    name = online_deployment_name(wanted.name, digest, force)
    return endpoint.online_deployment(name), name, digest


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
    """Online deployments that earlier rollouts left without traffic; only those that Rollway created."""
    kept = {key.lower() for key in endpoint.proven_traffic}
    if keeps_previous:
        kept.add(_name_of(endpoint.record.previous))
    for one in endpoint.online_deployments:
        is_ours = one.is_ours or one.name.lower() == _name_of(endpoint.record.previous)
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
) -> Iterator[Action]:
    live_names = traffic.served_by(endpoint.traffic)
    live = endpoint.online_deployment(live_names[0]) if live_names else None
    reasons = tuple(_identity_changes(spec, model, environment, live, name))
    if existing is None:
        yield Action(
            kind=Kind.CREATE, target=name, why="no online deployment is what the folder describes", changes=reasons
        )
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
        changes = tuple(_in_place_changes(existing, spec.online_deployment))
        if changes or existing.is_failed:
            why = "its last change failed" if existing.is_failed else "these fields can change in place"
            yield Action(kind=Kind.UPDATE, target=name, why=why, changes=changes)
        elif not serves:
            created_by = existing.record.created_by or "somebody else"
            yield Action(kind=Kind.ADOPT, target=name, why=f"it is what the folder describes, created by {created_by}")


def _is_rewritten(writes: tuple[Action, ...]) -> bool:
    return any(action.kind in (Kind.CREATE, Kind.UPDATE) for action in writes)


def _takeover(endpoint: EndpointState) -> Iterator[Action]:
    # Only if nothing else is to be done: every write takes the endpoint over anyway.
    held = endpoint.record.lease
    if held is not None:
        why = f"{held.holder} still holds it: wait for it, or take over if it has ended"
        yield Action(kind=Kind.TAKE_OVER, target=endpoint.name, why=why)


def _moves(endpoint: EndpointState, name: str, after: Mapping[str, int]) -> Iterator[Action]:
    if not traffic.is_same(endpoint.traffic, after):
        change = Change(field="traffic", today=traffic.describe(endpoint.traffic), wanted=traffic.describe(after))
        yield Action(kind=Kind.MOVE_TRAFFIC, target=name, why="the traffic differs", changes=(change,))
    elif endpoint.is_unproven:
        why = "a rollout moved traffic here and ended before the smoke test"
        yield Action(kind=Kind.PROVE, target=name, why=why)


def _retirements(
    spec: RolloutSpec, endpoint: EndpointState, after: Mapping[str, int], previous: Served | None
) -> Iterator[Action]:
    """Online deployments that lost their traffic; under `keep` the heaviest stays and replaces the one kept before."""
    serving = {key.lower() for key in after}
    keeps = spec.rollout.replaced == "keep"
    kept, last_kept = _name_of(previous), _name_of(endpoint.record.previous)
    candidates = [*_serving_today_or_proven(endpoint.traffic, endpoint.proven_traffic)]
    if keeps and kept and last_kept and last_kept not in (kept, *candidates):
        candidates.append(last_kept)
    # The one that the record remembers goes last: a run that dies before that leaves it to the next one.
    candidates.sort(key=lambda name: name == kept)
    for name in candidates:
        found = endpoint.online_deployment(name)
        if found is None or name.lower() in serving:
            continue
        if not keeps:
            yield Action(kind=Kind.RETIRE, target=name, why="it lost its traffic, and rollout.yml says delete")
        elif name != kept and found.is_ours:
            yield Action(kind=Kind.RETIRE, target=name, why="rollout.yml keeps only the one replaced last")


def _serving_today_or_proven(today: Mapping[str, int], proven: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*traffic.served_by(today), *traffic.served_by(proven)]))


def _previous(endpoint: EndpointState, after: Mapping[str, int]) -> Served | None:
    for name in traffic.served_by(endpoint.proven_traffic):
        found = endpoint.online_deployment(name)
        if found is not None and name not in {key.lower() for key in after}:
            return Served(online_deployment=found.name, model=model_of(found) or "")
    return None


def _name_of(previous: Served | None) -> str:
    return previous.online_deployment.lower() if previous else ""


def _in_place_changes(today: OnlineDeploymentState, wanted: OnlineDeploymentSpec) -> Iterator[Change]:
    yield from differences(
        [
            ("instance_count", today.instance_count, wanted.instance_count),
            *[(f"tags.{key}", today.tags.get(key), value) for key, value in wanted.tags.items()],
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
    yield from differences([("online deployment", live.name, name), ("code", live.record.code, code)])
    yield from _content_changes(spec, model, environment, live)


def _drift(
    spec: RolloutSpec, model: ResolvedAsset | None, environment: ResolvedAsset | None, existing: OnlineDeploymentState
) -> Iterator[Change]:
    # Without a fingerprint Rollway did not create it from these fields.
    if existing.is_settled and existing.record.fingerprint:
        yield from _content_changes(spec, model, environment, existing)


def _content_changes(
    spec: RolloutSpec, model: ResolvedAsset | None, environment: ResolvedAsset | None, today: OnlineDeploymentState
) -> Iterator[Change]:
    pairs: list[tuple[str, JsonValue, JsonValue]] = [
        ("model", short_id(today.model), str(model) if model else None),
        ("environment", short_id(today.environment), str(environment) if environment else None),
    ]
    yield from differences(pairs)
    yield from setting_changes(today, spec.online_deployment)
