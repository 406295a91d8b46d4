"""The plan: the moves of a run if everything succeeds, the reasons for them, and what they cost."""

from typing import Any

import pytest

from rollway.rollout.decide import decide
from rollway.rollout.moves import Change, Kind, Outcome
from rollway.rollout.plan import Plan, after, facts_after, plan
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.record import CODE, FINGERPRINT, INSTANCES, MODEL, VERSION
from rollway.rollout.request import Request
from rollway.rollout.state import EndpointState, ResolvedAsset
from rollway.settings import Workspace
from rollway.spec import AssetSpec, HiddenText, RolloutSpec
from tests.unit.rollout.examples import (
    ABSENT,
    endpoint,
    facts,
    hand_made,
    name_of,
    ours,
    rolled_out,
    run,
    setting,
    spec_with,
    wanted,
    with_changes,
)

SPEC = spec_with()
V1, V2 = name_of("1"), name_of("2")
UNKNOWN = "(known after registration)"


def planned(spec: RolloutSpec = SPEC, state: EndpointState = ABSENT, version: str = "1", **changes: Any) -> Plan:
    return plan(spec, wanted(version, **changes), state, facts())


def changes_of(made: Plan, kind: Kind) -> list[tuple[str, str, str]]:
    """Field, today's value and the wanted one of each change that moves of a kind make."""
    return [(one.field, one.today, one.wanted) for move in made.moves if move.kind is kind for one in move.changes]


def test_a_plan_is_what_a_run_does_if_everything_succeeds() -> None:
    made = planned(state=rolled_out("1"), version="2")

    assert list(made.moves) == run(SPEC, wanted("2"), rolled_out("1")).moves
    assert (made.end.outcome, made.endpoint, made.online_deployment) == (Outcome.DONE, "diabetes", V2)
    assert (str(made.model), str(made.environment)) == ("diabetes:2", "inference:1")
    assert (made.traffic_before, made.traffic_after, made.replaces) == ({V1: 100}, {V2: 100}, (V1,))


def test_a_plan_can_be_asked_for_its_moves() -> None:
    made = planned(state=rolled_out("1"), version="2")

    assert made.has(Kind.DELETE, Kind.CREATE)
    assert not made.has(Kind.DELETE)
    assert made.targets(Kind.CREATE) == (V2,)


def test_a_plan_says_how_large_the_candidate_gets_and_what_goes_before_it() -> None:
    failed = endpoint(ours("green", instance_count=4), ours(V1, provisioning_state="Failed"), ours("left"))

    made = planned(spec_with({"keep_replaced_seconds": 0}), failed)

    assert (made.instances, made.deletes_first) == (4, frozenset({V1, "left"}))
    assert made.targets(Kind.DELETE) == (V1, "left", "green"), "what is replaced goes after the rollout"


@pytest.mark.parametrize("state", [rolled_out("1"), endpoint(ours("green"), ours("left"), traffic={"green": 100})])
def test_a_plan_that_creates_nothing_deletes_nothing_before(state: EndpointState) -> None:
    made = planned(state=state, stays_because="nothing new")

    assert (made.instances, made.deletes_first) == (None, frozenset())


def test_the_first_rollout_says_that_none_serves_traffic() -> None:
    made = planned()

    assert changes_of(made, Kind.CREATE) == [("online deployment", "none serves traffic", V1)]
    assert (made.traffic_before, made.replaces, made.keeps) == ({}, (), ())


def test_where_nothing_is_due_the_plan_is_empty_and_says_why() -> None:
    made = planned(state=rolled_out("1"))

    assert (made.is_no_op, made.end.why) == (True, "Azure is as the folder describes it")
    assert made.traffic_after == made.traffic_before == {V1: 100}


def test_a_run_that_rolls_nothing_out_names_what_serves() -> None:
    serves = planned(state=rolled_out("1"), version="2", stays_because="it is paused: why")
    nothing = planned(stays_because="it is paused: why")

    assert (serves.online_deployment, serves.is_no_op, serves.end.why) == (V1, True, "it is paused: why")
    assert nothing.online_deployment == "none"


def test_tags_that_the_file_does_not_name_are_nobodys_business() -> None:
    live = rolled_out("1", state=EndpointState(name="diabetes", tags={"cost-centre": "42"}))

    assert live.tags["cost-centre"] == "42"
    assert planned(state=live).is_no_op


@pytest.mark.parametrize(
    ("change", "field", "today", "then"),
    [
        ({"settings": {"instance_type": "big"}}, "instance_type", "Standard_DS3_v2", "big"),
        (
            {"settings": {"instance_type": "Standard_DS3_v2", "request_settings": {"request_timeout_ms": 9000}}},
            "request_settings.request_timeout_ms",
            "5000",
            "9000",
        ),
        (
            {"environment_variables": {"A": HiddenText.of("1")}, "variables_digest": "d1"},
            "environment_variables.A",
            "(not set)",
            "(hidden)",
        ),
        ({"code_sha256": "beef" * 16}, "code", "c0dec0dec0de", "beefbeefbeef"),
        ({"code_sha256": None}, "code", "c0dec0dec0de", "(not set)"),
    ],
)
def test_a_new_online_deployment_is_explained_field_by_field(
    change: dict[str, Any], field: str, today: str, then: str
) -> None:
    made = planned(spec_with(**change), rolled_out("1"))

    reasons = changes_of(made, Kind.CREATE)
    assert (field, today, then) in reasons
    assert {one[0] for one in reasons} == {"online deployment", field}


def test_a_new_model_version_is_a_reason() -> None:
    made = planned(state=rolled_out("1"), version="2")

    assert changes_of(made, Kind.CREATE) == [("online deployment", V1, V2), ("model", "diabetes:1", "diabetes:2")]


def test_instances_beyond_the_file_are_a_reason() -> None:
    live = rolled_out("1")
    scaled = live.online_deployments[0].model_copy(update={"instance_count": 8})

    made = planned(state=with_changes(live, behind=(scaled,)), version="2")

    assert ("instance_count", "1", "8") in changes_of(made, Kind.CREATE)


def test_the_move_of_traffic_says_from_where_to_where() -> None:
    shared = endpoint(ours("green"), ours("blue"), traffic={"green": 60, "blue": 40})

    made = planned(state=shared)

    assert changes_of(made, Kind.MOVE_TRAFFIC) == [("traffic", "green 60 %, blue 40 %", f"{V1} 100 %")]
    assert made.replaces == ("green", "blue")


def test_a_canary_replaces_nothing() -> None:
    made = planned(state=rolled_out("1"), version="2", weight=10)

    assert (made.traffic_after, made.replaces, made.keeps) == ({V2: 10, V1: 90}, (), ())


# Afterwards


def test_what_is_replaced_and_stays_is_told_with_its_cost() -> None:
    made = planned(state=rolled_out("1"), version="2")

    assert made.keeps == (f"{V1} (small cost: 1 x Standard_DS3_v2) for 3600 s, to go back to",)


def test_what_is_replaced_and_deleted_at_once_is_not_kept() -> None:
    made = planned(spec_with({"keep_replaced_seconds": 0}), rolled_out("1"), "2")

    assert made.keeps == ()
    assert made.targets(Kind.DELETE) == (V1,)


def test_what_others_made_stays_and_is_told_so() -> None:
    state = endpoint(hand_made("green", "1", settings={}))

    made = planned(state=state)

    assert made.keeps == ("green (unknown cost: 1 x unknown size); Rollway did not create it and leaves it alone",)
    adopting = planned(spec_with({"adopt": True, "keep_replaced_seconds": 60}), state)
    assert adopting.keeps == ("green (unknown cost: 1 x unknown size) for 60 s, to go back to",)


def test_what_somebody_changed_on_ours_is_told_but_not_undone() -> None:
    live = rolled_out("1")
    one = live.online_deployments[0]
    changed = one.model_copy(update={"settings": {**one.settings, "instance_type": "huge"}})

    made = planned(state=with_changes(live, behind=(changed,)))

    assert made.is_no_op
    assert made.drift == (Change(field="instance_type", today="huge", wanted="Standard_DS3_v2"),)


def test_a_target_to_go_back_to_has_no_drift() -> None:
    live = rolled_out("1", "2")

    assert planned(spec_with(settings={}), live, goes_back_to=V1).drift == ()


# Before registration


@pytest.mark.parametrize("kind", ["model", "environment"])
def test_the_name_is_known_only_after_every_asset_is_registered(kind: str) -> None:
    new = ResolvedAsset(id=None, name="new", version=None, is_new=True)

    what = wanted().model_copy(update={kind: new})

    made = plan(SPEC, what, rolled_out("1"), facts())

    assert (made.online_deployment, made.targets(Kind.CREATE)) == (UNKNOWN, (UNKNOWN,))
    assert made.traffic_after == {UNKNOWN: 100}
    today = "diabetes:1" if kind == "model" else "inference:1"
    assert (kind, today, "new:(next version)") in changes_of(made, Kind.CREATE)


def test_an_unregistered_asset_is_planned_like_a_registered_one() -> None:
    new = ResolvedAsset(id=None, name="diabetes", version=None, is_new=True)

    made = planned(state=rolled_out("1"), model=new)

    assert [move.kind for move in made.moves] == [
        move.kind for move in planned(state=rolled_out("1"), version="2").moves
    ]


# Simulated Azure


def test_a_created_online_deployment_carries_the_records_and_the_tags_of_the_file() -> None:
    spec = spec_with(tags={"team": "ml", "empty": ""}, instance_count=2)

    one = run(spec, wanted(), ABSENT, most=2).endpoint.online_deployments[0]

    assert {name: one.tags[name] for name in ("team", "empty", VERSION, CODE, MODEL, INSTANCES)} == {
        "team": "ml",
        "empty": "",
        VERSION: "1",
        CODE: "c0dec0dec0de",
        MODEL: "diabetes:1",
        INSTANCES: "2",
    }
    assert one.tags[FINGERPRINT].startswith("1:")
    assert (one.record.created_by, one.record.written_by, one.provisioning_state) == ("run/1", "run/1", "Creating")


def test_what_there_is_not_is_not_remembered() -> None:
    one = run(spec_with(code_sha256=None), wanted(model=None), ABSENT, most=2).endpoint.online_deployments[0]

    assert not {CODE, MODEL} & set(one.tags)


def test_a_wait_for_another_rollout_ends_with_its_claim_given_back() -> None:
    held = run(SPEC, wanted("2"), rolled_out("1"), facts(attempt="other/1"), most=4).endpoint
    move = decide(SPEC, wanted("2"), held, facts())

    reached, _ = after(SPEC, wanted("2"), held, facts(), move)

    assert (move.kind, held.record.lease is None, reached.record.lease) == (Kind.WAIT, False, None)


def test_a_change_takes_back_the_smoke_test_before_it() -> None:
    tested = facts(tested=(ours("blue"), ours("green")))
    change = planned(spec_with(instance_count=2), rolled_out("1")).moves[0].model_copy(update={"target": "blue"})

    known = facts_after(tested, change, endpoint(ours("green")))

    assert (known.changed, [one.name for one in known.tested]) == (frozenset({"blue"}), ["green"])


def test_copied_and_deleted_autoscale_rules_are_known() -> None:
    spec = spec_with({"keep_replaced_seconds": 0})

    known = run(spec, wanted("2"), rolled_out("1"), facts(autoscale=(setting(V1),))).facts

    assert [(one.name, one.online_deployment) for one in known.autoscale] == [(f"of-{V1}-copy", V2)]


# Values


def test_a_spec_and_a_plan_can_be_stored_and_read_again() -> None:
    made = planned(state=rolled_out("1"), version="2")

    assert RolloutSpec.model_validate_json(SPEC.model_dump_json()) == SPEC
    assert Plan.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    ("changes", "is_over"), [({"is_dry_run": True}, True), ({}, False)], ids=["dry run", "real run"]
)
def test_a_dry_run_is_over_after_its_plan(changes: dict[str, Any], is_over: bool) -> None:
    workspace = Workspace(subscription_id="s", resource_group="rg", name="ws")
    rollout = PlannedRollout(
        workspace=workspace,
        spec=SPEC,
        request=Request(folder="diabetes", **changes),
        wanted=wanted(),
        plan=planned(),
    )

    assert (rollout.is_over, rollout.endpoint) == (is_over, "diabetes")
    assert rollout.model_copy(update={"plan": planned(state=rolled_out("1"))}).is_over


@pytest.mark.parametrize(
    ("given_asset", "text"),
    [
        (AssetSpec(reference="diabetes@latest"), "diabetes@latest"),
        (AssetSpec(name="diabetes", version="3"), "diabetes:3"),
        (AssetSpec(name="diabetes"), "diabetes:next version"),
        (AssetSpec(), "unnamed:next version"),
    ],
)
def test_an_asset_is_written_as_people_write_it(given_asset: AssetSpec, text: str) -> None:
    assert str(given_asset) == text
