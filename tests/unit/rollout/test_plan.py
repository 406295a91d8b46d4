"""From what the folder wants and what Azure has to what one rollout does."""

from typing import Any

import pytest

from rollway.rollout.changes import Change
from rollway.rollout.plan import Kind, Plan
from rollway.rollout.record import CODE, FINGERPRINT, LEASE, MODEL, VERSION, Served
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset
from rollway.spec import AssetSpec, RolloutSpec
from tests.support.builders import a_plan, after, asset, online_deployment_spec, planned, rollout_spec


def test_the_first_rollout_creates_the_endpoint_and_says_so() -> None:
    made = planned(rollout_spec())

    assert [action.kind for action in made.actions] == [Kind.CREATE_ENDPOINT, Kind.CREATE, Kind.MOVE_TRAFFIC]
    assert changes_of(made, Kind.CREATE) == [
        Change(field="online deployment", today="none serves traffic", wanted=made.online_deployment)
    ]
    assert made.traffic_before == {}


def test_the_tags_carry_what_a_later_run_needs() -> None:
    made = planned(rollout_spec(tags={"team": "ml", "empty": ""}))

    assert made.tags == {"team": "ml", "empty": ""}
    assert made.record.tags() == {
        VERSION: "1",
        FINGERPRINT: made.record.fingerprint,
        CODE: "c0dec0dec0de",
        MODEL: "diabetes:1",
    }
    assert made.record.fingerprint.startswith("2:")


def test_what_there_is_not_is_not_remembered() -> None:
    made = planned(rollout_spec(code_sha256=None), model=None)

    assert set(made.record.tags()) == {VERSION, FINGERPRINT}


def test_a_new_model_version_is_a_new_online_deployment_with_the_reason() -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))

    made = a_plan(spec, live, model_version="2")

    old = a_plan(spec).online_deployment
    assert [(action.kind, action.target) for action in made.actions] == [
        (Kind.CREATE, made.online_deployment),
        (Kind.MOVE_TRAFFIC, made.online_deployment),
        (Kind.RETIRE, old),
    ]
    assert (made.replaces, made.previous) == ((old,), Served(online_deployment=old, model="diabetes:1"))
    reasons = {change.field: (change.today, change.wanted) for change in changes_of(made, Kind.CREATE)}
    assert reasons["model"] == ("diabetes:1", "diabetes:2")
    assert set(reasons) == {"online deployment", "model"}


@pytest.mark.parametrize(
    ("change", "field", "today", "wanted"),
    [
        ({"settings": {"instance_type": "big"}}, "instance_type", "Standard_DS3_v2", "big"),
        (
            {"settings": {"instance_type": "Standard_DS3_v2", "request_settings": {"request_timeout_ms": 9000}}},
            "request_settings.request_timeout_ms",
            "5000",
            "9000",
        ),
        (
            {"settings": {"instance_type": "Standard_DS3_v2", "environment_variables": {"A": "1"}}},
            "environment_variables.A",
            "(not set)",
            "1",
        ),
        ({"code_sha256": "beef" * 16}, "code", "c0dec0dec0de", "beefbeefbeef"),
        ({"code_sha256": None}, "code", "c0dec0dec0de", "(not set)"),
    ],
)
def test_a_new_online_deployment_is_explained_field_by_field(
    change: dict[str, Any], field: str, today: str, wanted: str
) -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))

    made = a_plan(rollout_spec(**change), live)

    assert (field, today, wanted) in [(one.field, one.today, one.wanted) for one in changes_of(made, Kind.CREATE)]


@pytest.mark.parametrize(
    ("change", "field"), [({"instance_count": 3}, "instance_count"), ({"tags": {"team": "ml"}}, "tags.team")]
)
def test_instance_count_and_tags_are_changed_in_place(change: dict[str, Any], field: str) -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))

    made = a_plan(rollout_spec(**change), live)

    assert [action.kind for action in made.actions] == [Kind.UPDATE]
    assert [one.field for one in changes_of(made, Kind.UPDATE)] == [field]
    assert made.online_deployment == a_plan(spec).online_deployment


def test_tags_that_the_file_does_not_name_are_nobodys_business() -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes", tags={"cost-centre": "42"}))

    assert a_plan(spec, live).is_no_op


def test_a_change_of_the_endpoint_alone_is_something_to_do() -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))

    made = a_plan(rollout_spec(endpoint={"auth_mode": "aad_token", "tags": {"team": "ml"}, "description": "new"}), live)

    assert [action.kind for action in made.actions] == [Kind.UPDATE_ENDPOINT]
    assert [(one.field, one.today, one.wanted) for one in changes_of(made, Kind.UPDATE_ENDPOINT)] == [
        ("auth_mode", "key", "aad_token"),
        ("description", "(not set)", "new"),
        ("tags.team", "(not set)", "ml"),
    ]


def test_one_that_shares_traffic_takes_it_all_and_the_reason_is_the_traffic() -> None:
    spec = rollout_spec()
    name = a_plan(spec).online_deployment
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))

    made = a_plan(spec, live.model_copy(update={"traffic": {name: 60, "other": 40}}))

    assert ([action.kind for action in made.actions], made.replaces) == ([Kind.MOVE_TRAFFIC], ("other",))
    assert [(one.field, one.today) for one in changes_of(made, Kind.MOVE_TRAFFIC)] == [
        ("traffic", f"{name} 60 %, other 40 %")
    ]


def test_everything_that_serves_is_replaced_heaviest_first() -> None:
    endpoint = EndpointState(name="diabetes", traffic={"light": 10, "heavy": 90, "idle": 0})

    assert planned(rollout_spec(), endpoint).replaces == ("heavy", "light")


def test_a_dry_run_can_plan_with_assets_that_are_not_registered_yet() -> None:
    unregistered = ResolvedAsset(id=None, name="diabetes", version=None, is_new=True)

    made = planned(rollout_spec(), model=unregistered)

    assert str(made.model) == "diabetes:(next version)"
    assert made.has(Kind.CREATE)


def test_a_failed_leftover_of_the_same_name_is_removed_and_created_again() -> None:
    spec = rollout_spec()
    name = a_plan(spec).online_deployment
    failed = OnlineDeploymentState(name=name, provisioning_state="Failed", instance_count=1)

    made = a_plan(spec, EndpointState(name="diabetes", online_deployments=(failed,)))

    assert [(one.kind, one.target) for one in made.actions][:2] == [(Kind.REMOVE, name), (Kind.CREATE, name)]
    assert "cannot repair" in made.actions[0].why
    assert made.written_by is None


def test_a_running_operation_of_our_own_is_waited_for_and_its_work_adopted() -> None:
    spec = rollout_spec()
    first = a_plan(spec, EndpointState(name="diabetes"))
    left = after(first, spec, EndpointState(name="diabetes"), actions=1, run="dead/1")
    creating = left.online_deployments[0].model_copy(update={"provisioning_state": "Creating"})

    made = a_plan(spec, left.model_copy(update={"online_deployments": (creating,)}))

    assert [action.kind for action in made.actions] == [Kind.WAIT, Kind.ADOPT, Kind.MOVE_TRAFFIC]
    assert "created by dead/1" in made.actions[1].why
    assert (made.written_by, made.moved_by) == ("dead/1", None)


def test_a_live_one_whose_last_change_failed_is_changed_again() -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))
    failed = live.online_deployments[0].model_copy(update={"provisioning_state": "Failed"})

    made = a_plan(spec, live.model_copy(update={"online_deployments": (failed,)}))

    assert [(action.kind, action.why) for action in made.actions] == [(Kind.UPDATE, "its last change failed")]


def test_traffic_that_was_moved_and_never_proven_is_smoke_tested_and_can_still_go_back() -> None:
    spec = rollout_spec()
    before = after(a_plan(spec), spec, EndpointState(name="diabetes"))
    second = a_plan(spec, before, model_version="2")
    left = after(second, spec, before, actions=2)

    same = a_plan(spec, left, model_version="2")
    third = a_plan(spec, left, model_version="3")

    old = a_plan(spec).online_deployment
    assert [(one.kind, one.target) for one in same.actions] == [
        (Kind.PROVE, second.online_deployment),
        (Kind.RETIRE, old),
    ]
    assert same.traffic_proven == third.traffic_proven == {old: 100}
    assert set(third.targets(Kind.RETIRE)) == {old, second.online_deployment}


def test_a_canary_leaves_the_rest_of_the_traffic_where_it_is_and_retires_nothing() -> None:
    spec = rollout_spec()
    before = after(a_plan(spec), spec, EndpointState(name="diabetes"))

    made = planned(spec, before, model=asset("model", "diabetes", "2"), weight=10)

    assert made.traffic_after == {made.online_deployment: 10, a_plan(spec).online_deployment: 90}
    assert (made.targets(Kind.RETIRE), made.previous, made.replaces) == ((), None, ())


def test_a_forced_rollout_makes_a_new_one_of_the_same_content_once() -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))

    forced = planned(spec, live, force="run")
    again = planned(spec, after(forced, spec, live))

    assert forced.has(Kind.CREATE)
    assert forced.online_deployment != a_plan(spec).online_deployment
    assert again.is_no_op, "the next rollout that is not forced finds the same content"
    assert again.online_deployment == forced.online_deployment


def test_under_keep_the_one_replaced_last_is_kept_and_the_one_before_it_retired() -> None:
    spec = rollout_spec()
    spec = spec.model_copy(update={"rollout": spec.rollout.model_copy(update={"replaced": "keep"})})
    state, plans = EndpointState(name="diabetes"), []
    for version in ("1", "2", "3"):
        plans.append(a_plan(spec, state, model_version=version))
        state = after(plans[-1], spec, state)

    first, second, third = (made.online_deployment for made in plans)
    assert plans[2].targets(Kind.RETIRE) == (first,)
    assert {one.name for one in state.online_deployments} == {second, third}
    assert a_plan(spec, state, model_version="3").is_no_op


def test_a_lease_that_nobody_gave_back_is_a_reason_to_look_again() -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))
    held = live.model_copy(update={"tags": {**live.tags, LEASE: "dead/1 300 2026-01-01T00:00:00+00:00"}})

    made = a_plan(spec, held)

    assert [(one.kind, one.target) for one in made.actions] == [(Kind.TAKE_OVER, "diabetes")]
    assert "dead/1 still holds it" in made.actions[0].why


def test_what_somebody_changed_on_ours_is_told_but_not_undone() -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))
    changed = live.online_deployments[0].model_copy(
        update={"settings": {**live.online_deployments[0].settings, "instance_type": "huge"}}
    )

    made = a_plan(spec, live.model_copy(update={"online_deployments": (changed,)}))

    assert made.is_no_op
    assert made.drift == (Change(field="instance_type", today="huge", wanted="Standard_DS3_v2"),)


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


def test_names_of_online_deployments_compare_without_case() -> None:
    one = OnlineDeploymentState(name="Blue", provisioning_state="Succeeded", instance_count=1)

    assert EndpointState(name="e", online_deployments=(one,)).online_deployment("blue") is one


def test_a_spec_can_be_stored_and_read_again() -> None:
    spec = rollout_spec(settings=online_deployment_spec().settings)

    assert RolloutSpec.model_validate_json(spec.model_dump_json()) == spec
    assert Plan.model_validate_json(a_plan(spec).model_dump_json()) == a_plan(spec)


def changes_of(made: Plan, kind: Kind) -> list[Change]:
    return [change for action in made.actions if action.kind is kind for change in action.changes]


@pytest.mark.parametrize("kind", ["model", "environment"])
def test_the_name_is_known_only_after_every_asset_is_registered(kind: str) -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))
    new = ResolvedAsset(id=None, name="new", version=None, is_new=True)

    made = planned(spec, live, **{kind: new})

    assert (made.online_deployment, made.record.fingerprint) == ("(known after registration)", "")
    assert made.targets(Kind.CREATE) == ("(known after registration)",)
    assert made.traffic_after == {"(known after registration)": 100}
    assert Change(
        field=kind, today=f"{'diabetes' if kind == 'model' else 'inference'}:1", wanted="new:(next version)"
    ) in (changes_of(made, Kind.CREATE))
