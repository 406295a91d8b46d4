"""From what the folder wants and what Azure has to what one rollout does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.rollout.plan import Action, Plan, plan
from rollway.rollout.state import CODE, FINGERPRINT, MODEL, EndpointState, OnlineDeploymentState, ResolvedAsset
from rollway.spec import NAME_RULE, AssetSpec, RolloutSpec
from tests.unit.builders import a_plan, after, asset, online_deployment_spec, rollout_spec

ABSENT = EndpointState(name="diabetes", exists=False)
TEXT = st.text(max_size=4)
TAGS = st.dictionaries(st.text("abc", min_size=1, max_size=3), TEXT, max_size=3)
STATES = st.sampled_from(["Succeeded", "Failed", "Creating", "Updating", "Canceled"])


@st.composite
def specs(draw: st.DrawFn) -> RolloutSpec:
    """Any rollout of the endpoint `diabetes`."""
    return rollout_spec(
        endpoint={
            "auth_mode": draw(st.sampled_from(["key", "aml_token", "aad_token"])),
            "public_network_access": draw(st.sampled_from(["enabled", "disabled"])),
            "description": draw(st.none() | TEXT),
            "tags": draw(TAGS),
        },
        name=draw(st.from_regex(NAME_RULE, fullmatch=True)),
        code_sha256=draw(st.none() | st.just("c0de" * 16)),
        instance_count=draw(st.integers(1, 50)),
        tags=draw(TAGS),
        settings={"instance_type": draw(st.sampled_from(["small", "large"])), "nested": {"deep": draw(TEXT)}},
    )


@st.composite
def endpoints(draw: st.DrawFn, names: tuple[str, ...] = ("blue", "green")) -> EndpointState:
    """The endpoint `diabetes` in any state, with any traffic, among online deployments of which some may be gone."""
    traffic: dict[str, int] = draw(
        st.sampled_from([{}, *({name: 100} for name in names), {names[0]: 90, names[-1]: 10}, {names[0]: 0}])
    )
    return EndpointState(
        name="diabetes",
        exists=draw(st.booleans()),
        tags=draw(TAGS),
        description=draw(st.none() | TEXT),
        auth_mode=draw(st.sampled_from(["key", "aad_token"])),
        traffic=traffic,
        online_deployments=tuple(
            OnlineDeploymentState(name=name, provisioning_state=draw(STATES), instance_count=draw(st.integers(1, 3)))
            for name in names
            if draw(st.booleans())
        ),
    )


def planned(spec: RolloutSpec, endpoint: EndpointState = ABSENT, **assets: ResolvedAsset | None) -> Plan:
    chosen: dict[str, Any] = {"model": asset("model", "diabetes"), "environment": asset("environment", "inference")}
    return plan(spec, **{**chosen, **assets}, endpoint=endpoint)


@given(specs(), endpoints())
def test_planning_again_after_a_rollout_is_a_no_op(spec: RolloutSpec, endpoint: EndpointState) -> None:
    today = endpoint if endpoint.exists else ABSENT
    first = planned(spec, today)

    second = planned(spec, after(first, spec, today))

    assert second.action is Action.NO_OP, second.changes
    assert second.is_no_op, second.endpoint_changes
    assert (second.online_deployment, second.fingerprint) == (first.online_deployment, first.fingerprint)
    assert second.replaces == ()


@given(specs(), endpoints())
def test_a_plan_always_ends_with_one_online_deployment_that_serves_everything(
    spec: RolloutSpec, endpoint: EndpointState
) -> None:
    made = planned(spec, endpoint)

    assert made.traffic_after == {made.online_deployment: 100}
    assert made.online_deployment not in made.replaces
    assert NAME_RULE.fullmatch(made.online_deployment)


@given(specs(), endpoints())
def test_whatever_is_planned_to_be_done_is_explained(spec: RolloutSpec, endpoint: EndpointState) -> None:
    made = planned(spec, endpoint)

    assert bool(made.changes) is (made.action is not Action.NO_OP)
    assert all(change.today != change.wanted for change in made.changes)


@given(specs(), st.data())
def test_only_one_that_is_ready_and_serves_everything_is_left_alone(spec: RolloutSpec, data: st.DataObject) -> None:
    name = planned(spec).online_deployment
    endpoint = data.draw(endpoints(names=(name, "other")))

    made = planned(spec, endpoint)

    existing = endpoint.online_deployment(name)
    is_live = existing is not None and existing.is_succeeded and endpoint.traffic == {name: 100}
    assert (made.action is not Action.NEW) is is_live


def test_the_first_rollout_creates_the_endpoint_and_says_so() -> None:
    made = planned(rollout_spec())

    assert (made.action, made.creates_endpoint, made.traffic_before) == (Action.NEW, True, {})
    assert [(change.field, change.today) for change in made.changes] == [("online deployment", "none serves traffic")]


def test_the_tags_carry_what_a_later_run_needs() -> None:
    made = planned(rollout_spec(tags={"team": "ml", "empty": ""}))

    assert made.tags == {
        "team": "ml",
        "empty": "",
        FINGERPRINT: made.fingerprint,
        CODE: "c0dec0dec0de",
        MODEL: "diabetes:1",
    }


def test_tags_for_what_there_is_not_are_left_out() -> None:
    made = planned(rollout_spec(code_sha256=None), model=None)

    assert set(made.tags) == {FINGERPRINT}


def test_a_new_model_version_is_a_new_online_deployment_with_the_reason() -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))

    made = a_plan(spec, live, model_version="2")

    assert made.action is Action.NEW
    assert made.replaces == (a_plan(spec).online_deployment,)
    reasons = {change.field: (change.today, change.wanted) for change in made.changes}
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

    assert (field, today, wanted) in [(one.field, one.today, one.wanted) for one in made.changes]


@pytest.mark.parametrize(
    ("change", "field"), [({"instance_count": 3}, "instance_count"), ({"tags": {"team": "ml"}}, "tags.team")]
)
def test_instance_count_and_tags_are_changed_in_place(change: dict[str, Any], field: str) -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))

    made = a_plan(rollout_spec(**change), live)

    assert made.action is Action.IN_PLACE
    assert [one.field for one in made.changes] == [field]
    assert made.online_deployment == a_plan(spec).online_deployment


def test_tags_that_the_file_does_not_name_are_nobodys_business() -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes", tags={"cost-centre": "42"}))

    assert a_plan(spec, live).is_no_op


def test_a_change_of_the_endpoint_alone_is_something_to_do() -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))

    made = a_plan(rollout_spec(endpoint={"auth_mode": "aad_token", "tags": {"team": "ml"}, "description": "new"}), live)

    assert (made.action, made.is_no_op) == (Action.NO_OP, False)
    assert [(one.field, one.today, one.wanted) for one in made.endpoint_changes] == [
        ("auth_mode", "key", "aad_token"),
        ("description", "(not set)", "new"),
        ("tags.team", "(not set)", "ml"),
    ]


def test_one_that_shares_traffic_takes_it_all_and_the_reason_is_the_traffic() -> None:
    spec = rollout_spec()
    name = a_plan(spec).online_deployment
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))

    made = a_plan(spec, live.model_copy(update={"traffic": {name: 60, "other": 40}}))

    assert (made.action, made.replaces) == (Action.NEW, ("other",))
    assert [(one.field, one.today) for one in made.changes] == [("traffic", f"{name} 60 %, other 40 %")]


def test_everything_that_serves_is_replaced_heaviest_first() -> None:
    endpoint = EndpointState(name="diabetes", traffic={"light": 10, "heavy": 90, "idle": 0})

    assert planned(rollout_spec(), endpoint).replaces == ("heavy", "light")


def test_a_dry_run_can_plan_with_assets_that_are_not_registered_yet() -> None:
    unregistered = ResolvedAsset(id=None, name="diabetes", version=None, is_new=True)

    made = planned(rollout_spec(), model=unregistered)

    assert str(made.model) == "diabetes:(next version)"
    assert made.action is Action.NEW


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
