"""Stable traffic, derived from the record of an endpoint, and other properties of states."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.rollout import traffic
from rollway.rollout.record import FINGERPRINT, IS_TESTED, MODEL, STABLE_TRAFFIC, WRITTEN_TRAFFIC, YES, EndpointRecord
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset, is_settled, model_of, short_id
from rollway.spec import HiddenText
from tests.support.builders import WORKSPACE_ID

NAMES = ("blue", "green", "red")
MAPS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 100))


def an_endpoint(
    today: dict[str, int],
    written: str | None = None,
    stable: str | None = None,
    there: tuple[str, ...] = NAMES,
    *,
    is_tested: bool = False,
) -> EndpointState:
    tags = {WRITTEN_TRAFFIC: written, STABLE_TRAFFIC: stable, IS_TESTED: YES if is_tested else None}
    return EndpointState(
        name="diabetes",
        traffic=today,
        tags={key: value for key, value in tags.items() if value is not None},
        online_deployments=tuple(an_online_deployment(name) for name in there),
    )


def an_online_deployment(name: str = "blue", state: str = "Succeeded") -> OnlineDeploymentState:
    return OnlineDeploymentState(name=name, provisioning_state=state, instance_count=1)


def seen(state: EndpointState) -> tuple[bool, bool, dict[str, int]]:
    """Return if the traffic is unproven, if it is a canary's, and the stable traffic."""
    return state.is_unproven, state.is_canary, state.stable_traffic


@pytest.mark.parametrize(
    ("state", "behind", "busy"),
    [
        ("Succeeded", ("Succeeded", "Failed"), None),
        ("Failed", ("Succeeded", "Canceled"), None),
        ("Updating", ("Creating", "Succeeded"), ("diabetes", "Updating")),
        ("Succeeded", ("Succeeded", "Deleting"), ("green", "Deleting")),
    ],
)
def test_an_operation_on_the_endpoint_or_behind_it_makes_it_busy(
    state: str, behind: tuple[str, str], busy: tuple[str, str] | None
) -> None:
    found = tuple(map(an_online_deployment, NAMES, behind))

    assert EndpointState(name="diabetes", provisioning_state=state, online_deployments=found).busy == busy


def test_an_endpoint_that_does_not_exist_is_not_busy() -> None:
    assert EndpointState(name="diabetes", exists=False, provisioning_state="Absent").busy is None


@pytest.mark.parametrize(
    ("today", "stable", "newcomer"),
    [
        ({"blue": 90, "green": 10}, "blue=100", "green"),
        ({"Blue": 50, "green": 20, "red": 30}, "blue=100", "red"),
        ({"blue": 100, "green": 0}, "blue=100", None),
        ({}, "blue=100", None),
        ({"green": 100}, "none", "green"),
    ],
)
def test_a_newcomer_has_traffic_that_stable_does_not_give_it(
    today: dict[str, int], stable: str, newcomer: str | None
) -> None:
    written = ",".join(f"{name.lower()}={weight}" for name, weight in sorted(today.items()) if weight) or "none"

    assert an_endpoint(today, written=written, stable=stable).newcomer == newcomer


def test_what_is_behind_a_traffic_map_comes_heaviest_first_without_what_is_gone() -> None:
    state = an_endpoint({}, there=("blue", "green"))

    assert [one.name for one in state.behind({"blue": 20, "GREEN": 30, "red": 50})] == ["green", "blue"]
    assert state.behind({"blue": 0}) == ()


def test_traffic_that_was_moved_and_never_tested_returns_to_stable() -> None:
    state = an_endpoint({"green": 100, "blue": 0}, written="green=100", stable="blue=100")

    assert seen(state) == (True, False, {"blue": 100})


def test_traffic_that_was_moved_and_promoted_stays() -> None:
    state = an_endpoint({"green": 100, "blue": 0}, written="green=100", stable="green=100")

    assert seen(state) == (False, False, {"green": 100})
    assert not state.is_moved


def test_a_canary_that_was_tested_can_still_return_to_stable() -> None:
    state = an_endpoint({"green": 10, "blue": 90}, written="blue=90,green=10", stable="blue=100", is_tested=True)

    assert seen(state) == (False, True, {"blue": 100})
    assert state.is_moved


def test_the_first_traffic_ever_returns_to_none() -> None:
    state = an_endpoint({"green": 100}, written="green=100", stable="none")

    assert seen(state) == (True, False, {})


@pytest.mark.parametrize("is_tested", [True, False])
@pytest.mark.parametrize(
    ("written", "stable"),
    [
        (None, None),
        ("green=100", None),
        (None, "blue=100"),
        ("blue=50,red=50", "blue=100"),
        ("nonsense", "blue=100"),
        ("green=100", "nonsense"),
    ],
    ids=["no tags", "no stable", "none written", "changed since", "written unreadable", "stable unreadable"],
)
def test_traffic_that_rollway_did_not_write_last_counts_as_stable(
    written: str | None, stable: str | None, is_tested: bool
) -> None:
    state = an_endpoint({"green": 100, "blue": 0}, written, stable, is_tested=is_tested)

    assert seen(state) == (False, False, {"green": 100})


def test_traffic_that_nothing_is_left_to_return_to_counts_as_stable() -> None:
    state = an_endpoint({"green": 100}, written="green=100", stable="blue=90,red=10", there=("green", "blue"))

    assert seen(state) == (False, False, {"green": 100})


def test_a_list_that_comes_without_online_deployments_does_not_say_that_they_are_gone() -> None:
    state = an_endpoint({"green": 100}, written="green=100", stable="blue=100", there=())

    assert state.stable_traffic == {"green": 100}
    assert state.model_copy(update={"is_complete": False}).stable_traffic == {"blue": 100}


def test_letter_case_of_names_does_not_count() -> None:
    state = an_endpoint({"Green": 100}, written="green=100", stable="blue=100", there=("GREEN", "BLUE"))

    assert seen(state) == (True, False, {"blue": 100})


@given(MAPS, MAPS, MAPS, st.sets(st.sampled_from(NAMES)), st.booleans())
def test_stable_traffic_is_always_todays_or_the_one_in_the_tag(
    today: dict[str, int], written: dict[str, int], stable: dict[str, int], there: set[str], is_tested: bool
) -> None:
    tags = EndpointRecord().moved("run/1", written, stable).tags()
    state = an_endpoint(today, tags[WRITTEN_TRAFFIC], tags[STABLE_TRAFFIC], tuple(sorted(there)), is_tested=is_tested)

    assert state.is_moved is not traffic.is_same(state.stable_traffic, today)
    assert (state.is_unproven, state.is_canary) == (state.is_moved and not is_tested, state.is_moved and is_tested)
    if state.is_moved:
        assert traffic.is_same(written, today)
        assert traffic.is_same(state.stable_traffic, stable)
        assert set(state.stable_traffic) <= there


def test_one_is_needed_if_it_has_traffic_or_mirrored_traffic_or_if_stable_needs_it() -> None:
    state = an_endpoint({"Green": 100}, written="green=100", stable="blue=100", there=("Green", "blue", "red"))
    mirrored = state.model_copy(update={"mirror_traffic": {"red": 10, "other": 0}})

    assert [name for name in ("green", "BLUE", "red", "other") if mirrored.is_needed(name)] == ["green", "BLUE", "red"]


@pytest.mark.parametrize(
    ("word", "settled"),
    [
        ("Succeeded", True),
        ("failed", True),
        ("Canceled", True),
        ("Creating", False),
        ("Updating", False),
        ("Scaling", False),
        ("Deleting", False),
        ("a state of next year", False),
    ],
)
def test_only_the_three_last_states_have_no_operation_running(word: str, settled: bool) -> None:
    assert is_settled(word) is settled
    assert an_online_deployment(state=word).is_settled is settled
    assert EndpointState(name="diabetes", provisioning_state=word).is_settled is settled


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("Succeeded", (True, False, False)),
        ("Failed", (False, True, False)),
        ("Canceled", (False, True, False)),
        ("Deleting", (False, False, True)),
        ("Creating", (False, False, False)),
    ],
)
def test_an_online_deployment_is_ready_failed_or_on_its_way(word: str, found: tuple[bool, bool, bool]) -> None:
    one = an_online_deployment(state=word)

    assert (one.is_succeeded, one.is_failed, one.is_being_deleted) == found


def test_online_deployments_and_weights_are_found_in_any_letter_case() -> None:
    state = an_endpoint({"blue": 90, "green": 10})

    assert (state.weight_of("BLUE"), state.weight_of("other")) == (90, 0)
    assert state.online_deployment("GREEN") == an_online_deployment("green")
    assert state.online_deployment("other") is None


def test_the_content_of_an_online_deployment_is_everything_but_its_size_and_state() -> None:
    one = an_online_deployment()
    same = {"instance_count": 5, "provisioning_state": "Updating", "tags": {"team": "ml"}}
    others: list[dict[str, object]] = [
        {"name": "green"},
        {"model": "m"},
        {"environment": "e"},
        {"code": "c"},
        {"settings": {"instance_type": "large"}},
        {"environment_variables": {"A": HiddenText.of("1")}},
        {"tags": {FINGERPRINT: "1:other"}},
    ]

    assert one.model_copy(update=same).content == one.content
    assert all(one.model_copy(update=other).content != one.content for other in others)


@pytest.mark.parametrize(
    ("asset_id", "text"),
    [
        (None, None),
        (f"{WORKSPACE_ID}/models/diabetes/versions/3", "diabetes:3"),
        ("azureml://registries/r/models/diabetes/versions/3", "diabetes:3"),
        (
            "azureml://registries/r/models/diabetes/labels/latest",
            "azureml://registries/r/models/diabetes/labels/latest",
        ),
        ("diabetes:3", "diabetes:3"),
    ],
)
def test_the_short_form_of_an_id_is_name_and_version(asset_id: str | None, text: str | None) -> None:
    assert short_id(asset_id) == text


def test_the_model_of_an_online_deployment_is_the_recorded_one_or_else_that_of_its_id() -> None:
    one = an_online_deployment().model_copy(update={"model": f"{WORKSPACE_ID}/models/diabetes/versions/3"})

    assert model_of(one) == "diabetes:3"
    assert model_of(one.model_copy(update={"tags": {MODEL: "churn:1"}})) == "churn:1"


def test_an_asset_is_called_by_name_and_version() -> None:
    assert str(ResolvedAsset(id="x", name="diabetes", version="3")) == "diabetes:3"
    assert str(ResolvedAsset(id=None, name="diabetes", version=None)) == "diabetes:(next version)"
