"""Rollouts of the endpoint `diabetes` without Azure: builders, and runs that carry out what `decide` says."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from rollway.rollout.autoscale import AutoscaleSetting
from rollway.rollout.decide import decide
from rollway.rollout.entries import Command, Order
from rollway.rollout.facts import Facts
from rollway.rollout.moves import Kind, Move
from rollway.rollout.plan import after
from rollway.rollout.record import EndpointRecord, OnlineDeploymentRecord, with_record
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.rollout.wanted import Wanted, candidate_of
from rollway.spec import RolloutSpec
from tests.support.builders import WORKSPACE_ID, asset, rollout_spec

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)  # a Friday
EARLIER, LATER = NOW - timedelta(minutes=5), NOW + timedelta(minutes=5)
ABSENT = EndpointState(name="diabetes", exists=False)
MOST_MOVES = 60


class Made(NamedTuple):
    """A run: the endpoint and the facts after it, its moves, and the last decision."""

    endpoint: EndpointState
    moves: list[Move]
    last: Move
    facts: Facts

    @property
    def kinds(self) -> list[Kind]:
        """Kinds of its moves, in order."""
        return [move.kind for move in self.moves]

    def the(self, kind: Kind) -> Move:
        """The only move of a kind."""
        (found,) = [move for move in self.moves if move.kind is kind]
        return found


def at(moment: datetime) -> str:
    """A time as records have it."""
    return moment.isoformat(timespec="milliseconds")


def spec_with(rollout: dict[str, Any] | None = None, **online_deployment: Any) -> RolloutSpec:
    """A folder, with options of rollout.yml and fields of deployment.yml."""
    spec = rollout_spec(**online_deployment)
    return spec.model_copy(update={"rollout": spec.rollout.model_copy(update=rollout or {})})


def wanted(version: str = "1", **changes: Any) -> Wanted:
    """A person's wish for a version of the model `diabetes`."""
    values = {"model": asset("model", "diabetes", version), "environment": asset("environment", "inference")}
    return Wanted(**{**values, **changes})


def facts(**changes: Any) -> Facts:
    """The facts of the run `run/1` at its start."""
    return Facts(**{"attempt": "run/1", "started": NOW, "now": NOW, "ended": frozenset({"dead/1"}), **changes})


def setting(online_deployment: str, **changes: Any) -> AutoscaleSetting:
    """An autoscale setting of an online deployment."""
    values = {
        "id": f"settings/of-{online_deployment}",
        "name": f"of-{online_deployment}",
        "online_deployment": online_deployment,
        "minimum": 1,
        "maximum": 4,
        "default": 1,
        "is_enabled": True,
        "location": "westeurope",
        "properties": {},
    }
    return AutoscaleSetting(**{**values, **changes})


def order(word: Order, given: datetime, by: str = "ann") -> Command:
    """An order of a person."""
    return Command(order=word, by=by, at=at(given), reason="because")


def hand_made(name: str, version: str = "1", **values: Any) -> OnlineDeploymentState:
    """An online deployment that Rollway did not create."""
    defaults = {
        "provisioning_state": "Succeeded",
        "instance_count": 1,
        "model": f"{WORKSPACE_ID}/models/diabetes/versions/{version}",
        "environment": f"{WORKSPACE_ID}/environments/inference/versions/1",
    }
    return OnlineDeploymentState(**{"name": name, **defaults, **values})


def ours(
    name: str, version: str = "1", by: str = "dead/1", created: datetime = EARLIER, **values: Any
) -> OnlineDeploymentState:
    """An online deployment that an earlier run created; a name that is not of the folder has other content."""
    record = OnlineDeploymentRecord(fingerprint="1:other", model=f"diabetes:{version}", instances=1)
    return hand_made(name, version, tags=record.created(by, at(created)).tags(), **values)


def name_of(version: str, spec: RolloutSpec | None = None, **changes: Any) -> str:
    """Name of the online deployment that a version gets."""
    return candidate_of(spec or spec_with(), wanted(version, **changes), ABSENT).name


def endpoint(
    *behind: OnlineDeploymentState,
    traffic: dict[str, int] | None = None,
    record: EndpointRecord | None = None,
    **values: Any,
) -> EndpointState:
    """The endpoint with what is behind it; default: the first one has all traffic, and the record knows nothing."""
    first = {one.name: 100 for one in behind[:1]}
    tags = with_record(values.pop("tags", {}), record) if record is not None else values.pop("tags", {})
    shown = first if traffic is None else traffic
    return EndpointState(name="diabetes", tags=tags, traffic=shown, online_deployments=behind, **values)


def with_changes(state: EndpointState, record: EndpointRecord | None = None, **changes: Any) -> EndpointState:
    """The endpoint after somebody changed it; `behind` replaces online deployments of the same names."""
    behind = {one.name: one for one in (*state.online_deployments, *changes.pop("behind", ()))}
    if record is not None:
        changes["tags"] = with_record(state.tags, record)
    return state.model_copy(update={**changes, "online_deployments": tuple(behind.values())})


def run(
    spec: RolloutSpec, what: Wanted, state: EndpointState, known: Facts | None = None, most: int = MOST_MOVES
) -> Made:
    """A run of at most so many moves, each of which succeeds."""
    moves: list[Move] = []
    known = (known or facts()).model_copy(update={"began_with": state.serving})
    while not (move := decide(spec, what, state, known)).is_end and len(moves) < most:
        assert move.why, move
        assert not is_refused_by_azure(move, state), (move, state)
        moves.append(move)
        state, known = after(spec, what, state, known, move)
        assert len(moves) < MOST_MOVES, f"it does not converge: {[str(one) for one in moves[-4:]]}"
    return Made(state, moves, move, known)


def run_until(spec: RolloutSpec, what: Wanted, state: EndpointState, kind: Kind, known: Facts | None = None) -> Made:
    """A run that dies after its first move of a kind."""
    whole = run(spec, what, state, known)
    return run(spec, what, state, known, whole.kinds.index(kind) + 1)


def rolled_out(*versions: str, spec: RolloutSpec | None = None, state: EndpointState = ABSENT) -> EndpointState:
    """The endpoint after rollouts of these versions, one after the other, each five minutes before `NOW`."""
    for number, version in enumerate(versions):
        known = facts(attempt=f"before{number}/1", started=EARLIER, now=EARLIER)
        state = run(spec or spec_with(), wanted(version), state, known).endpoint
    return state


def is_refused_by_azure(move: Move, state: EndpointState) -> str:
    """Return why Azure would refuse a move, or why it would hurt."""
    here = {one.name.lower(): one for one in state.online_deployments}
    if move.is_write and any(not one.is_settled for one in here.values()):
        return "another operation is running"
    if move.traffic is not None:
        if sum(move.traffic.values()) not in (0, 100):
            return "the sum is neither 0 nor 100"
        for name, weight in move.traffic.items():
            if weight and name.lower() not in here:
                return f"{name} gets traffic and does not exist"
            is_new = not state.weight_of(name) and not state.stable_traffic.get(name.lower())
            if weight and is_new and not here[name.lower()].is_succeeded:
                return f"{name} gets traffic and is not ready"
    if move.kind is Kind.DELETE:
        if state.weight_of(move.target) or state.mirror_traffic.get(move.target):
            return "it has traffic"
        if move.target.lower() in state.stable_traffic:
            return "stable needs it"
    if move.kind is Kind.CREATE and move.target.lower() in here:
        return "it exists"
    return ""
