"""From what the folder wants and what Azure has to what one rollout does."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollway.rollout import traffic
from rollway.rollout.plan import Change, Kind, Plan, plan
from rollway.rollout.state import (
    CODE,
    CREATED_BY,
    FINGERPRINT,
    MODEL,
    PREVIOUS,
    PROVEN_TRAFFIC,
    RUN,
    WRITTEN_TRAFFIC,
    EndpointState,
    OnlineDeploymentState,
    ResolvedAsset,
)
from rollway.spec import NAME_RULE, AssetSpec, RolloutSpec
from tests.unit.builders import a_plan, after, asset, online_deployment_spec, rollout_spec

ABSENT = EndpointState(name="diabetes", exists=False)
TEXT = st.text(max_size=4)
TAGS = st.dictionaries(st.text("abc", min_size=1, max_size=3), TEXT, max_size=3)
STATES = st.sampled_from(["Succeeded", "Succeeded", "Failed", "Creating", "Updating", "Deleting", "Canceled"])


@st.composite
def specs(draw: st.DrawFn) -> RolloutSpec:
    """Any rollout of the endpoint `diabetes`."""
    spec = rollout_spec(
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
    replaced = draw(st.sampled_from(["delete", "keep"]))
    return spec.model_copy(update={"rollout": spec.rollout.model_copy(update={"replaced": replaced})})


@st.composite
def endpoints(draw: st.DrawFn, spec: RolloutSpec) -> EndpointState:
    """The endpoint in any state that rollouts, crashes and other people can bring it to."""
    wanted = planned(spec)
    names = (wanted.online_deployment, "blue", "green")
    there = tuple(draw(online_deployments(name, wanted)) for name in names if draw(st.booleans()))
    serving = [one.name for one in there if one.provisioning_state != "Deleting"]
    weights = draw(st.sampled_from([(100,), (90, 10), (50, 49, 1), (0,)]))
    live = dict(zip(draw(st.permutations(serving)), weights, strict=False))
    if sum(live.values()) not in (0, 100):
        live = {}
    live |= {one.name: 0 for one in there if one.name not in live}  # as Azure shows them
    before = draw(st.sampled_from([{}, {"blue": 100}, {"green": 60, "blue": 40}, {"gone": 100}]))
    tags = draw(TAGS)
    if draw(st.booleans()):  # a rollout moved traffic; whether this is what it wrote, is another question
        written = draw(st.sampled_from([live, {"blue": 100}]))
        tags |= {WRITTEN_TRAFFIC: traffic.encode(written), PROVEN_TRAFFIC: traffic.encode(before), RUN: "dead/1"}
        there = tuple(one.model_copy(update={"tags": {**one.tags, CREATED_BY: "dead/1"}}) for one in there)
    if draw(st.booleans()):
        tags[PREVIOUS] = draw(st.sampled_from(["blue=diabetes:1", "gone=diabetes:0"]))
    return EndpointState(
        name="diabetes",
        provisioning_state=draw(st.sampled_from(["Succeeded", "Updating", "Failed"])),
        tags=tags,
        description=draw(st.none() | TEXT),
        auth_mode=draw(st.sampled_from(["key", "aad_token"])),
        traffic=live,
        mirror_traffic={} if live.get("green") else draw(st.sampled_from([{}, {"green": 10}])),
        online_deployments=there,
    )


@st.composite
def online_deployments(draw: st.DrawFn, name: str, wanted: Plan) -> OnlineDeploymentState:
    """One that this rollout, another rollout or somebody else has made."""
    tags = draw(st.sampled_from([{}, {CREATED_BY: "dead/1", RUN: "dead/1"}]))
    if name == wanted.online_deployment or draw(st.booleans()):
        tags = {**tags, **draw(st.sampled_from([wanted.tags, {FINGERPRINT: "other"}, {}]))}
    return OnlineDeploymentState(
        name=name, provisioning_state=draw(STATES), instance_count=draw(st.integers(1, 3)), tags=tags
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[RolloutSpec, EndpointState, dict[str, Any]]:
    """What is wanted, what there is, and how the rollout was started."""
    spec = draw(specs())
    absent = st.just(EndpointState(name="diabetes", exists=False))
    options = {"weight": draw(st.sampled_from([100, 100, 10, 1])), "force": draw(st.sampled_from(["", "", "token"]))}
    return spec, draw(absent | endpoints(spec)), options


def planned(spec: RolloutSpec, endpoint: EndpointState = ABSENT, **options: Any) -> Plan:
    assets: dict[str, Any] = {"model": asset("model", "diabetes"), "environment": asset("environment", "inference")}
    return plan(spec, endpoint=endpoint, **{**assets, **options})


@given(situations())
@settings(max_examples=300)
def test_a_plan_that_is_carried_out_leaves_nothing_to_do(situation: tuple[Any, ...]) -> None:
    spec, endpoint, options = situation
    first = planned(spec, endpoint, **options)

    reached = after(first, spec, endpoint)
    second = planned(spec, reached, **options)

    assert second.is_no_op, second.actions
    assert second.online_deployment == first.online_deployment
    assert traffic.is_same(reached.traffic, first.traffic_after)


@given(situations(), st.data())
@settings(max_examples=300)
def test_whoever_dies_midway_the_next_rollout_reaches_the_same_end(
    situation: tuple[Any, ...], data: st.DataObject
) -> None:
    spec, endpoint, options = situation
    first = planned(spec, endpoint, **options)
    undisturbed = after(first, spec, endpoint)
    done = data.draw(st.integers(0, len(first.actions)), label="actions carried out")

    left = after(first, spec, endpoint, actions=done)
    reached = after(planned(spec, left, **options), spec, left, run="run/2")

    assert traffic.is_same(reached.traffic, undisturbed.traffic)
    assert {one.name for one in reached.online_deployments} == {one.name for one in undisturbed.online_deployments}
    assert planned(spec, reached, **options).is_no_op


@given(situations())
def test_traffic_moves_to_one_that_is_there_and_always_sums_to_100(situation: tuple[Any, ...]) -> None:
    spec, endpoint, options = situation

    made = planned(spec, endpoint, **options)

    assert sum(made.traffic_after.values()) == 100
    assert made.traffic_after[made.online_deployment] >= options["weight"]
    assert sum(made.traffic_proven.values()) in (0, 100)
    assert NAME_RULE.fullmatch(made.online_deployment)
    kinds = [action.kind for action in made.actions]
    assert kinds == sorted(kinds, key=list(Kind).index) or Kind.REMOVE in kinds, "what is made comes before traffic"


@given(situations())
def test_what_serves_and_what_others_made_is_never_removed_as_a_leftover(situation: tuple[Any, ...]) -> None:
    spec, endpoint, options = situation

    made = planned(spec, endpoint, **options)

    for name in made.targets(Kind.REMOVE):
        found = endpoint.online_deployment(name)
        assert found is not None
        assert endpoint.weight_of(name) == 0
        replaced = endpoint.tags.get(PREVIOUS, "").partition("=")[0]
        assert CREATED_BY in found.tags or name in (made.online_deployment, replaced)
        assert name not in made.traffic_proven


@given(situations())
def test_whatever_is_planned_to_be_done_is_explained(situation: tuple[Any, ...]) -> None:
    spec, endpoint, options = situation

    made = planned(spec, endpoint, **options)

    assert all(action.why for action in made.actions)
    assert all(change.today != change.wanted for action in made.actions for change in action.changes)
    for action in made.actions:
        if action.kind in (Kind.MOVE_TRAFFIC, Kind.UPDATE_ENDPOINT):
            assert action.changes, action


def test_the_first_rollout_creates_the_endpoint_and_says_so() -> None:
    made = planned(rollout_spec())

    assert [action.kind for action in made.actions] == [Kind.CREATE_ENDPOINT, Kind.CREATE, Kind.MOVE_TRAFFIC]
    assert changes_of(made, Kind.CREATE) == [
        Change(field="online deployment", today="none serves traffic", wanted=made.online_deployment)
    ]
    assert made.traffic_before == {}


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

    old = a_plan(spec).online_deployment
    assert [(action.kind, action.target) for action in made.actions] == [
        (Kind.CREATE, made.online_deployment),
        (Kind.MOVE_TRAFFIC, made.online_deployment),
        (Kind.RETIRE, old),
    ]
    assert (made.replaces, made.previous) == ((old,), f"{old}=diabetes:1")
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
