"""The plan: the sequence of moves that `decide` makes if everything succeeds and nobody else interferes."""

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta

from rollway.rollout import predictions, traffic
from rollway.rollout.autoscale import AutoscaleSetting
from rollway.rollout.changes import content_changes
from rollway.rollout.costs import cost_class
from rollway.rollout.decide import decide
from rollway.rollout.evidence import Judgement, Verdict
from rollway.rollout.facts import Facts, Look
from rollway.rollout.follow import Skipped
from rollway.rollout.moves import Change, Kind, Move
from rollway.rollout.predictions import Comparison
from rollway.rollout.preflight import Finding
from rollway.rollout.record import with_record
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset
from rollway.rollout.wanted import Wanted, candidate_of
from rollway.spec import Frozen, RolloutSpec

MOST_MOVES = 200  # of a plan; an endpoint has at most 20 online deployments, each needs a few


# A plan assumes that the canary is good, and that people confirm at once.
ASSUMED_JUDGEMENT = Judgement(verdict=Verdict.SUCCESSFUL)
ASSUMED_COMPARISON = Comparison(
    verdict=predictions.Verdict.AGREES,
    compared=0,
    not_comparable=0,
    disagreements=0,
    noise=0,
    lowest_excess=0.0,
    minimum_agreement=1.0,
    minimum_requests=0,
)


class Plan(Frozen):
    """The moves of one run; none if nothing is due.

    Attributes:
        workspace: Resource group and name of the workspace, and its subscription.
        online_deployment: The candidate, or what serves if nothing is rolled out.
        moves: What the run does, in order, without its end.
        end: Why it ends there.
        traffic_before: Percent by online deployment, as is `traffic_after`.
        replaces: The online deployments that lose their traffic, heaviest first.
        keeps: The online deployments that lose their traffic and stay, and for how long.
        drift: Fields that somebody else changed on an online deployment that Rollway created.
        findings: Findings of the preflight.
        skipped: Newer model versions that are not rolled out.
        takes_seconds: How long its steps take at least; 0 if traffic moves at once.
    """

    workspace: str = ""
    endpoint: str
    online_deployment: str
    model: ResolvedAsset | None
    environment: ResolvedAsset | None
    moves: tuple[Move, ...]
    end: Move
    traffic_before: dict[str, int]
    traffic_after: dict[str, int]
    replaces: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    drift: tuple[Change, ...] = ()
    findings: tuple[Finding, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    takes_seconds: int = 0

    @property
    def is_no_op(self) -> bool:
        """True if nothing is due."""
        return not self.moves

    @property
    def instances(self) -> int | None:
        """The number of instances that the candidate gets; None if it stays as it is."""
        return next((move.instances for move in self.moves if move.instances is not None), None)

    @property
    def deletes_first(self) -> frozenset[str]:
        """The online deployments that are deleted before the candidate is created."""
        kinds = [move.kind for move in self.moves]
        before = self.moves[: kinds.index(Kind.CREATE)] if Kind.CREATE in kinds else ()
        return frozenset(move.target for move in before if move.kind is Kind.DELETE)

    def has(self, *kinds: Kind) -> bool:
        """Return True if the plan contains a move of one of those kinds."""
        return any(move.kind in kinds for move in self.moves)

    def targets(self, kind: Kind) -> tuple[str, ...]:
        """Return the targets of all moves of a kind."""
        return tuple(move.target for move in self.moves if move.kind is kind)


def plan(spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, facts: Facts) -> Plan:
    """Return the plan from any state of Azure; total and deterministic."""
    moves, reached = [], endpoint
    known = facts.model_copy(update={"look_seconds": math.inf})
    while not (move := decide(spec, wanted, reached, known)).is_end and move.kind is not Kind.HOLD:
        moves.append(move)
        reached, known = after(spec, wanted, reached, known, move)
        if len(moves) > MOST_MOVES:
            raise AssertionError(f"the decision does not converge: {[str(one) for one in moves[-4:]]}")
    candidate = None if wanted.stays_because else candidate_of(spec, wanted, endpoint)
    serving = traffic.served_by(endpoint.stable_traffic)
    existing = candidate.existing if candidate else None
    return Plan(
        endpoint=endpoint.name,
        online_deployment=candidate.name if candidate else ", ".join(serving) or "none",
        model=wanted.model,
        environment=wanted.environment,
        moves=tuple(moves),
        end=move,
        traffic_before=endpoint.serving,
        traffic_after=reached.serving,
        replaces=tuple(one for one in traffic.served_by(endpoint.traffic) if not reached.weight_of(one)),
        keeps=tuple(_keeps(spec, endpoint, reached)),
        takes_seconds=_baking_seconds(moves, facts, known),
        drift=_drift(spec, wanted, existing) if existing and not wanted.goes_back_to else (),
    )


def after(
    spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, facts: Facts, move: Move
) -> tuple[EndpointState, Facts]:
    """Return the endpoint and the run's facts after a move that succeeded."""
    if move.kind is Kind.DELETE_ENDPOINT:
        return EndpointState(name=move.target, exists=False), facts
    facts = _assumed(facts, move, endpoint)
    reached = _online_deployments_after(spec, wanted, _endpoint_after(spec, endpoint, facts, move), facts, move)
    return reached, facts_after(facts, move, endpoint)


def _endpoint_after(spec: RolloutSpec, endpoint: EndpointState, facts: Facts, move: Move) -> EndpointState:
    changes: dict[str, object] = {}
    if move.record is not None:
        changes["tags"] = with_record(endpoint.tags, move.record)
    if move.traffic is not None:
        mirror = endpoint.mirror_traffic if move.mirror is None else move.mirror
        changes["traffic"] = move.traffic
        changes["mirror_traffic"] = {name: one for name, one in mirror.items() if not move.traffic.get(name.lower())}
    if move.kind in (Kind.CREATE_ENDPOINT, Kind.CHANGE_ENDPOINT):
        changes |= _endpoint_as_wanted(spec, endpoint, facts)
    if move.kind is Kind.WAIT and move.target == endpoint.name:
        if endpoint.is_settled:  # for another rollout
            changes["tags"] = with_record(endpoint.tags, endpoint.record.released())
        else:
            changes["provisioning_state"] = "Succeeded"
    return endpoint.model_copy(update=changes)


def _online_deployments_after(
    spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, facts: Facts, move: Move
) -> EndpointState:
    here = {one.name.lower(): one for one in endpoint.online_deployments}
    name = move.target.lower()
    found = here.get(name)
    if move.kind is Kind.CREATE:
        here[name] = _created(spec, wanted, move, facts)
    elif move.kind is Kind.DELETE:
        del here[name]
    elif found is not None and move.kind in (Kind.WAIT, Kind.WAIT_UNTIL_READY):
        del here[name]
        if not found.is_being_deleted:
            here[name] = found.model_copy(update={"provisioning_state": "Succeeded"})
    elif found is not None and move.kind is Kind.CHANGE and move.made is not None:
        tags = {**found.tags, **({} if wanted.goes_back_to else spec.online_deployment.tags)}
        update = {"tags": with_record(tags, move.made), "instance_count": move.instances}
        here[name] = found.model_copy(update={**update, "provisioning_state": "Succeeded"})
    return endpoint.model_copy(update={"online_deployments": tuple(here.values())})


def _baking_seconds(moves: Sequence[Move], before: Facts, after: Facts) -> int:
    bakes = any(one.kind is Kind.BAKE for one in moves)
    return round((after.now - before.now).total_seconds()) if bakes else 0


def _assumed(facts: Facts, move: Move, endpoint: EndpointState) -> Facts:
    """Return the facts of a plan after a move whose outcome only a run can know: it assumes the good one."""
    underway = endpoint.record.underway
    number = underway.number if underway else 0
    match move.kind:
        case Kind.COMPARE:
            return facts.model_copy(update={"comparison": ASSUMED_COMPARISON})
        case Kind.LOOK:
            look = Look(number=number, at=facts.now, judgement=ASSUMED_JUDGEMENT)
            return facts.model_copy(update={"look": look})
        case Kind.BAKE:
            return facts.model_copy(update={"now": move.until})
        case Kind.GATE:
            return facts.model_copy(update={"confirmed": facts.confirmed | {number}})
    return facts


def facts_after(facts: Facts, move: Move, endpoint: EndpointState) -> Facts:
    """Return what a run knows after a move that succeeded.

    Args:
        endpoint: The endpoint that the move was decided on.
    """
    changes: dict[str, object] = {}
    found = endpoint.online_deployment(move.target)
    if move.kind in (Kind.CREATE, Kind.CHANGE):
        changes["changed"] = facts.changed | {move.target}
        changes["tested"] = tuple(one for one in facts.tested if one.name != move.target)
    elif move.kind is Kind.SMOKE_TEST and found is not None:
        changes["tested"] = (*facts.tested, found)
    elif move.kind in (Kind.TEST_LIVE, Kind.TEST_ABANDONED):
        changes["proven"] = endpoint.serving
    elif move.kind is Kind.SETTLE:
        changes["now"] = facts.now + timedelta(seconds=move.seconds)
    elif move.kind in (Kind.MOVE_TRAFFIC, Kind.RECORD, Kind.PROMOTE, Kind.RESTORE):
        changes["owned"] = move.record is not None and move.record.underway is not None
    elif move.kind in (Kind.COPY_AUTOSCALE, Kind.DELETE_AUTOSCALE):
        others = tuple(one for one in facts.autoscale if one.online_deployment.lower() != move.target.lower())
        copied = [one for one in facts.autoscale if one.name in move.settings]
        is_copy = move.kind is Kind.COPY_AUTOSCALE
        changes["autoscale"] = (*others, *(_for(one, move.target) for one in copied)) if is_copy else others
    return facts.model_copy(update=changes)


def _for(setting: AutoscaleSetting, online_deployment: str) -> AutoscaleSetting:
    return setting.model_copy(update={"name": f"{setting.name}-copy", "online_deployment": online_deployment})


def _endpoint_as_wanted(spec: RolloutSpec, endpoint: EndpointState, facts: Facts) -> dict[str, object]:
    wanted, record = spec.endpoint, endpoint.record
    if not endpoint.exists:
        record = record.created(facts.attempt, facts.at)
    return {
        "exists": True,
        "provisioning_state": "Succeeded",
        "auth_mode": wanted.auth_mode,
        "public_network_access": wanted.public_network_access,
        "description": endpoint.description if wanted.description is None else wanted.description,
        "tags": with_record({**endpoint.tags, **wanted.tags}, record),
    }


def _created(spec: RolloutSpec, wanted: Wanted, move: Move, facts: Facts) -> OnlineDeploymentState:
    made = (move.made or candidate_of(spec, wanted, EndpointState(name=spec.endpoint.name)).record).created(
        facts.attempt, facts.at
    )
    return OnlineDeploymentState(
        name=move.target,
        provisioning_state="Creating",
        instance_count=move.instances or spec.online_deployment.instance_count,
        tags=with_record(spec.online_deployment.tags, made),
        model=wanted.model.id if wanted.model else None,
        environment=wanted.environment.id if wanted.environment else None,
        settings=spec.online_deployment.settings,
        environment_variables=spec.online_deployment.environment_variables,
    )


def _keeps(spec: RolloutSpec, before: EndpointState, reached: EndpointState) -> Iterator[str]:
    replaced = [one for one in before.behind(before.traffic) if not reached.weight_of(one.name)]
    for one in replaced:
        if reached.online_deployment(one.name) is None:
            continue
        kind = str(one.settings.get("instance_type") or "")
        size = f"{one.instance_count} x {kind or 'unknown size'}"
        cost = f"{one.name} ({cost_class(kind, one.instance_count).value} cost: {size})"
        if one.is_ours or (spec.rollout.adopt and one is replaced[0]):  # the record remembers one
            yield f"{cost} for {spec.rollout.keep_replaced_seconds} s, to go back to"
        else:
            yield f"{cost}; Rollway did not create it and leaves it alone"


def _drift(spec: RolloutSpec, wanted: Wanted, existing: OnlineDeploymentState) -> tuple[Change, ...]:
    # Without a fingerprint Rollway did not create it from these fields.
    if not existing.is_settled or not existing.record.fingerprint:
        return ()
    return content_changes(spec.online_deployment, wanted.model, wanted.environment, existing)
