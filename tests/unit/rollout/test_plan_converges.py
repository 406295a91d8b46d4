"""The planner over all states that rollouts, crashes and other people can bring an endpoint to."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollway.rollout import traffic
from rollway.rollout.plan import Kind, Plan
from rollway.rollout.record import (
    CREATED_BY,
    FINGERPRINT,
    LEASE,
    PREVIOUS,
    RUN,
    EndpointRecord,
)
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.spec import NAME_RULE, RolloutSpec
from tests.support.builders import after, planned, rollout_spec

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
        tags |= EndpointRecord().moved("dead/1", written, before).tags()
        there = tuple(one.model_copy(update={"tags": {**one.tags, CREATED_BY: "dead/1"}}) for one in there)
    tags[LEASE] = draw(st.sampled_from(["free", "dead/1 300 2026-01-01T00:00:00+00:00"]))
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
        tags = {**tags, **draw(st.sampled_from([{**wanted.tags, **wanted.record.tags()}, {FINGERPRINT: "other"}, {}]))}
    return OnlineDeploymentState(
        name=name, provisioning_state=draw(STATES), instance_count=draw(st.integers(1, 3)), tags=tags
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[RolloutSpec, EndpointState, dict[str, Any]]:
    """The folder, the endpoint, and the options of the rollout."""
    spec = draw(specs())
    absent = st.just(EndpointState(name="diabetes", exists=False))
    options = {"weight": draw(st.sampled_from([100, 100, 10, 1])), "force": draw(st.sampled_from(["", "", "token"]))}
    return spec, draw(absent | endpoints(spec)), options


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
