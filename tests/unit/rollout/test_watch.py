"""The findings of the watcher: a run is started exactly where something is due."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollway.rollout.decide import decide
from rollway.rollout.entries import Command, Failures, Lease, Order, Served
from rollway.rollout.fingerprint import fingerprint
from rollway.rollout.follow import ModelSource, ModelVersion, content_digest
from rollway.rollout.moves import Kind
from rollway.rollout.record import EndpointRecord, OnlineDeploymentRecord, with_record
from rollway.rollout.request import Models, Request, answer
from rollway.rollout.restraint import restraint
from rollway.rollout.state import EndpointState, OnlineDeploymentState, model_of
from rollway.rollout.wanted import RequestedBy
from rollway.rollout.watch import (
    Finding,
    Verdict,
    assumed_environment,
    facts_of_look,
    find,
    forgotten_promotion,
    must_look_behind,
)
from rollway.settings import Workspace
from rollway.spec import AssetSpec, Follow, FreezeWindow, RolloutSpec
from tests.support.builders import WORKSPACE_ID, asset, rollout_spec
from tests.unit.rollout.examples import NOW
from tests.unit.rollout.test_decide_converges import situations as any_situation

WORKSPACE = Workspace(subscription_id="s", resource_group="rg", name="ws")
DIABETES = ModelSource(name="diabetes")
ENVIRONMENT = asset("environment", "inference")
TESTS = (Kind.SMOKE_TEST, Kind.TEST_LIVE, Kind.TEST_ABANDONED)
TIDIES = (Kind.SETTLE, Kind.DELETE, Kind.DELETE_AUTOSCALE)
INTERVAL = 600


def version(text: str, days: int = 0) -> ModelVersion:
    """A version of the model diabetes, registered so many days after the first."""
    created_at = NOW - timedelta(days=9 - days)
    model_id = f"{WORKSPACE_ID}/models/diabetes/versions/{text}"
    return ModelVersion(name="diabetes", version=text, id=model_id, created_at=created_at)


ONE, TWO = version("1"), version("2", 1)


def at(**ago: float) -> str:
    """A time so long ago, as in a record."""
    return (NOW - timedelta(**ago)).isoformat(timespec="milliseconds")


def following(reference: str = "diabetes@latest", **rules: Any) -> RolloutSpec:
    spec = rollout_spec(model=AssetSpec(reference=reference))
    follow = Follow(**rules) if rules else None
    return spec.model_copy(update={"rollout": spec.rollout.model_copy(update={"follow": follow})})


def online_deployment(name: str, model: ModelVersion, created: str = at(days=2)) -> OnlineDeploymentState:
    """An online deployment that Rollway created for this version of the model, as the folder describes it."""
    spec = rollout_spec()
    record = OnlineDeploymentRecord(
        fingerprint=fingerprint(spec.online_deployment, model.id, ENVIRONMENT.id),
        model=f"diabetes:{model.version}",
        instances=1,
    ).created("first/1", created)
    return OnlineDeploymentState(
        name=name,
        provisioning_state="Succeeded",
        instance_count=1,
        tags=with_record({}, record),
        model=model.id,
        environment=ENVIRONMENT.id,
    )


def serving(
    model: ModelVersion = ONE, *, record: EndpointRecord | None = None, behind: tuple[OnlineDeploymentState, ...] = ()
) -> EndpointState:
    """An endpoint whose online deployment `blue` serves a version since yesterday."""
    live = Served(online_deployment="blue", model=f"diabetes:{model.version}")
    known = (record or EndpointRecord()).promoted("first/1", at(days=1), live, {"blue": 100})
    return EndpointState(
        name="diabetes",
        tags=with_record({}, known),
        traffic={"blue": 100},
        online_deployments=(online_deployment("blue", model), *behind),
    )


def with_changes(endpoint: EndpointState, record: EndpointRecord, **traffic: int) -> EndpointState:
    """The endpoint with another record, and with this traffic if there is any."""
    changes = {"tags": with_record(endpoint.tags, record), "traffic": traffic or endpoint.traffic}
    return endpoint.model_copy(update=changes)


def listed(endpoint: EndpointState) -> EndpointState:
    """The endpoint as in a list of endpoints."""
    return endpoint.model_copy(update={"online_deployments": (), "is_complete": False})


def found(
    endpoint: EndpointState, *versions: ModelVersion, spec: RolloutSpec | None = None, now: datetime = NOW
) -> Finding:
    models = Models(source=DIABETES, versions=versions)
    return find(spec or following(), models, endpoint, WORKSPACE, now)


def both(endpoint: EndpointState, *versions: ModelVersion, **given: Any) -> Finding:
    """The finding at an endpoint, which is the same with and without its online deployments."""
    finding = found(endpoint, *versions, **given)
    short = found(listed(endpoint), *versions, **given)
    assert (short.verdict, short.version, short.live_version) == (
        finding.verdict,
        finding.version,
        finding.live_version,
    )
    return finding


def test_a_new_version_is_due() -> None:
    finding = both(serving(ONE), ONE, TWO)

    assert finding == Finding(
        rollout="diabetes",
        endpoint="diabetes",
        workspace=WORKSPACE,
        model="diabetes",
        version="2",
        live_version="1",
        verdict=Verdict.START,
        reason="newest version",
        last_attempt="first/1",
    )


def test_the_live_version_is_up_to_date() -> None:
    finding = both(serving(TWO), ONE, TWO)

    assert (finding.verdict, finding.reason) == (Verdict.UP_TO_DATE, "2 is live, the newest version")


def test_an_endpoint_that_does_not_exist_gets_its_first_version() -> None:
    finding = found(EndpointState(name="diabetes", exists=False), ONE)

    assert (finding.verdict, finding.version, finding.live_version) == (Verdict.START, "1", None)


def test_nothing_goes_back_by_itself_to_an_older_version() -> None:
    live = TWO.model_copy(update={"is_archived": True})

    finding = both(serving(TWO), ONE, live)

    assert (finding.verdict, finding.reason) == (
        Verdict.UP_TO_DATE,
        "2 is live and newer than the newest eligible version, 1 newer skipped",
    )


def test_a_model_without_eligible_versions_starts_nothing() -> None:
    finding = both(serving(ONE), TWO, spec=following(stage="Production"))

    assert finding.verdict is Verdict.NOTHING_ELIGIBLE
    assert finding.reason == "newest eligible version: there is none"
    assert [(one.version, one.reason) for one in finding.skipped] == [("2", "its stage is (not set), not Production")]
    assert found(serving(ONE)).reason == "newest version: the model has none yet"


def test_another_model_behind_the_endpoint_gives_way() -> None:
    other = "azureml://registries/r/models/diabetes/versions/2"
    [blue] = serving(TWO).online_deployments
    endpoint = serving(TWO).model_copy(
        update={"online_deployments": (blue.model_copy(update={"model": other, "tags": {}}),)}
    )

    finding = found(endpoint, ONE, TWO)

    assert (finding.verdict, finding.live_version) == (Verdict.START, "r/diabetes:2")


def test_a_live_model_of_a_registry_is_recognised_by_its_name_where_the_record_alone_tells() -> None:
    source = ModelSource(name="diabetes", registry="r")
    spec = following("azureml://registries/r/models/diabetes/labels/latest")

    finding = find(spec, Models(source=source, versions=(ONE, TWO)), listed(serving(TWO)), WORKSPACE, NOW)

    assert finding.verdict is Verdict.UP_TO_DATE


@pytest.mark.parametrize(
    ("held", "rules", "reason"),
    [
        (EndpointRecord().paused("rolled back"), {}, "2 waits: it is paused: rolled back"),
        (
            EndpointRecord().told(Command(order=Order.HOLD, by="ann", at=at(days=1), reason="audit")),
            {},
            "2 waits: it is held: hold by ann: audit",
        ),
        (
            EndpointRecord(),
            {"freeze": [FreezeWindow(days=("fri",), start="11:00")]},
            "2 waits: no automatic rollouts in fri 11:00 to 24:00 UTC",
        ),
    ],
    ids=["pause", "hold", "freeze"],
)
def test_what_holds_automation_back_delays_a_new_version_and_says_so_only_if_there_is_one(
    held: EndpointRecord, rules: dict[str, Any], reason: str
) -> None:
    waits = both(serving(ONE, record=held), ONE, TWO, spec=following(**rules))
    nothing_new = both(serving(TWO, record=held), ONE, TWO, spec=following(**rules))

    assert (waits.verdict, waits.reason) == (Verdict.HELD_BACK, reason)
    assert nothing_new.verdict is Verdict.UP_TO_DATE


def test_a_rollout_that_failed_a_moment_ago_is_tried_again_later() -> None:
    spec = following()
    record = serving(ONE).record.model_copy(
        update={"failures": Failures(content=content_digest("diabetes:2", spec), count=1, at=at(minutes=4))}
    )
    endpoint = with_changes(serving(ONE), record)

    waits = both(endpoint, ONE, TWO)
    tried = both(endpoint, ONE, TWO, now=NOW + timedelta(minutes=7))

    assert waits.verdict is Verdict.HELD_BACK
    assert waits.reason == "2 waits: it failed once for a temporary reason; the next try is due at 12:06:00 UTC"
    assert tried.verdict is Verdict.START


def test_a_lease_keeps_the_watcher_away_until_it_is_twice_its_time_old() -> None:
    def left(seconds: float) -> EndpointState:
        lease = Lease(holder="dead/1", ttl_seconds=300, renewed_at=at(seconds=seconds))
        moved = serving(ONE).record.moved("dead/1", {"green": 100}, {"blue": 100}).claimed(lease)
        return with_changes(serving(ONE, behind=(online_deployment("green", TWO),)), moved, green=100)

    working, dead = both(left(599), ONE, TWO), both(left(601), ONE, TWO)

    assert (working.verdict, working.reason) == (
        Verdict.RUNNING,
        f"a rollout holds it: dead/1, since {at(seconds=599)}",
    )
    assert (dead.verdict, dead.reason) == (
        Verdict.START,
        f"dead/1 claimed it at {at(seconds=601)} and no longer works on it",
    )


@pytest.mark.parametrize("reference", ["diabetes@latest", "diabetes:1"])
@pytest.mark.parametrize("pause", ["", "rolled back"])
def test_traffic_that_nobody_tested_is_repaired_even_if_automation_is_held_back(reference: str, pause: str) -> None:
    rules = {"freeze": [FreezeWindow()]} if reference == "diabetes@latest" else {}
    endpoint = serving(ONE, behind=(online_deployment("green", TWO),))
    moved = endpoint.record.paused(pause).moved("dead/1", {"green": 100}, {"blue": 100})

    finding = both(with_changes(endpoint, moved, green=100), ONE, TWO, spec=following(reference, **rules))

    assert (finding.verdict, finding.reason) == (
        Verdict.START,
        "a rollout moved traffic and ended before the smoke test",
    )


def test_a_folder_that_follows_no_model_is_only_repaired() -> None:
    finding = find(following("diabetes:2"), Models(), serving(ONE), WORKSPACE, NOW)

    assert (finding.verdict, finding.reason) == (Verdict.UP_TO_DATE, "the folder follows no model")
    assert (finding.model, finding.version, finding.live_version) == ("", None, "diabetes:1")


@pytest.mark.parametrize(
    ("held", "verdict", "reason"),
    [
        (EndpointRecord(), Verdict.START, "delete online deployment green: an earlier rollout left it without traffic"),
        (
            EndpointRecord().told(Command(order=Order.HOLD, by="ann", at=at(days=1))),
            Verdict.UP_TO_DATE,
            "1 is live, the newest version",
        ),
        (EndpointRecord().paused("rolled back"), Verdict.UP_TO_DATE, "1 is live, the newest version"),
    ],
    ids=["free", "held", "paused"],
)
def test_leftovers_are_due_unless_automation_is_held_back(held: EndpointRecord, verdict: Verdict, reason: str) -> None:
    endpoint = serving(ONE, record=held, behind=(online_deployment("green", TWO),))

    finding = found(endpoint, ONE)

    assert finding.verdict is verdict
    assert finding.reason.startswith(reason)


def test_what_was_replaced_is_due_when_its_time_is_over() -> None:
    endpoint = serving(TWO, behind=(online_deployment("green", ONE),))
    record = endpoint.record.replacing(Served(online_deployment="green", model="diabetes:1"))
    endpoint, keep = with_changes(endpoint, record), following().rollout.keep_replaced_seconds
    due = NOW - timedelta(days=1) + timedelta(seconds=keep)

    early, late = (found(endpoint, ONE, TWO, now=due + timedelta(seconds=one)) for one in (-1, 1))

    assert early.verdict is Verdict.UP_TO_DATE
    assert late.verdict is Verdict.START
    assert late.reason == f"delete online deployment green: it was replaced, and rollout.yml keeps it for {keep} s"


def canary(order: Order, minutes: float = 6) -> EndpointState:
    """A canary of version 2 that somebody started by hand, and an order that was given so many minutes ago."""
    endpoint = serving(ONE, behind=(online_deployment("green", TWO),))
    split = {"blue": 90, "green": 10}
    command = Command(order=order, by="ann", at=at(minutes=minutes), reason="enough seen")
    record = endpoint.record.paused("canary at 10 %").moved("dead/1", split, {"blue": 100}).tested(split).told(command)
    return with_changes(endpoint, record, **split)


def test_an_order_to_promote_that_nobody_carries_out_is_due_even_if_the_endpoint_is_paused() -> None:
    finding = found(canary(Order.PROMOTE), ONE, TWO)

    assert (finding.verdict, finding.reason) == (Verdict.START, "nobody carries out: promote by ann: enough seen")
    assert finding.order == canary(Order.PROMOTE).record.command


def test_an_order_to_abort_that_nobody_carries_out_is_due_for_an_ordinary_run() -> None:
    finding = both(canary(Order.ABORT), ONE, TWO)

    assert (finding.verdict, finding.reason) == (Verdict.START, "nobody carries out: abort by ann: enough seen")
    assert finding.order is None


@pytest.mark.parametrize("order", [Order.PROMOTE, Order.ABORT, Order.HOLD])
def test_an_order_that_means_nothing_here_or_that_a_rollout_can_read_starts_nothing(order: Order) -> None:
    without_canary = serving(ONE, record=EndpointRecord().told(Command(order=order, by="ann", at=at(days=1))))
    worked_on = with_changes(
        canary(order), canary(order).record.claimed(Lease(holder="run/1", ttl_seconds=300, renewed_at=at(seconds=1)))
    )

    assert both(without_canary, ONE).verdict is Verdict.UP_TO_DATE
    assert both(worked_on, ONE, TWO).verdict is Verdict.RUNNING
    assert both(canary(Order.HOLD), ONE, TWO).verdict is Verdict.HELD_BACK


@st.composite
def situations(draw: st.DrawFn) -> tuple[RolloutSpec, Models, EndpointState, datetime]:
    """A folder that follows its model, the versions of the model, and the endpoint in any state."""
    spec, endpoint, _ = draw(any_situation())
    freeze = draw(st.sampled_from([[], [], [FreezeWindow()]]))
    update = {"follow": Follow(freeze=freeze)} if freeze else {}
    spec = spec.model_copy(update={"rollout": spec.rollout.model_copy(update=update)})
    models = st.sampled_from([None, ONE.id, TWO.id])
    behind = tuple(
        one.model_copy(update={"environment": ENVIRONMENT.id, "model": draw(models)})
        for one in endpoint.online_deployments
    )
    # The record may know what serves, and is then right: whoever changed that since shows at the daily closer look.
    lives = [Served(online_deployment=one.name, model=model_of(one) or "") for one in behind]
    known = endpoint.record.model_copy(update={"live": draw(st.sampled_from([None, *lives]))})
    record = known.paused(draw(st.sampled_from(["", "", "rolled back"])))
    endpoint = endpoint.model_copy(
        update={"online_deployments": behind, "tags": with_record(endpoint.tags, record) if endpoint.exists else {}}
    )
    versions = draw(st.sampled_from([(), (ONE,), (ONE, TWO)]))
    return spec, Models(source=DIABETES, versions=versions), endpoint, NOW


@given(situations())
@settings(max_examples=800)
def test_a_run_is_started_exactly_if_it_would_have_something_to_do(situation: Any) -> None:
    spec, models, endpoint, now = situation
    request = Request(folder=spec.name, requested_by=RequestedBy.WATCHER)
    environment = assumed_environment(spec, endpoint)
    wanted = answer(spec, request, models, environment, endpoint, now).wanted
    move = decide(spec, wanted, endpoint, facts_of_look(endpoint, now))
    is_held_back = bool(restraint(spec, None, endpoint.record, now))

    finding = find(spec, models, endpoint, WORKSPACE, now)

    if (move.is_write or move.kind in TESTS) and not (is_held_back and move.kind in TIDIES):
        assert finding.verdict is Verdict.START, (move, finding)
    if move.is_end and forgotten_promotion(endpoint, now) is None:
        assert finding.verdict is not Verdict.START, (move, finding)


@given(situations())
@settings(max_examples=400)
def test_a_list_of_endpoints_misses_no_new_version_and_nothing_left_behind(situation: Any) -> None:
    spec, models, endpoint, now = situation
    complete = find(spec, models, endpoint, WORKSPACE, now)
    is_urgent = complete.reason.startswith(("newest", "a rollout moved", "dead/1", "nobody"))

    if endpoint.exists and complete.verdict is Verdict.START and is_urgent:
        short = find(spec, models, listed(endpoint), WORKSPACE, now)
        assert short.verdict is Verdict.START or must_look_behind(spec, listed(endpoint), now, is_turn=False)
