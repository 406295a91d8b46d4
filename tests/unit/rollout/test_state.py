"""Proven traffic, derived from the record of an endpoint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.rollout import traffic
from rollway.rollout.record import PROVEN_TRAFFIC, WRITTEN_TRAFFIC, EndpointRecord
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset, is_settled

NAMES = ("blue", "green", "red")
MAPS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 100))


def an_endpoint(
    today: dict[str, int], written: str | None = None, proven: str | None = None, there: tuple[str, ...] = NAMES
) -> EndpointState:
    tags = {WRITTEN_TRAFFIC: written, PROVEN_TRAFFIC: proven}
    return EndpointState(
        name="diabetes",
        traffic=today,
        tags={key: value for key, value in tags.items() if value is not None},
        online_deployments=tuple(an_online_deployment(name) for name in there),
    )


def an_online_deployment(name: str = "blue", state: str = "Succeeded") -> OnlineDeploymentState:
    return OnlineDeploymentState(name=name, provisioning_state=state, instance_count=1)


def test_traffic_that_was_moved_and_never_proved_returns_to_what_was_proven() -> None:
    state = an_endpoint({"green": 100, "blue": 0}, written="green=100", proven="blue=100")

    assert (state.is_unproven, state.proven_traffic) == (True, {"blue": 100})


def test_traffic_that_was_moved_and_proved_stays() -> None:
    state = an_endpoint({"green": 100, "blue": 0}, written="green=100", proven="green=100")

    assert (state.is_unproven, state.proven_traffic) == (False, {"green": 100})


def test_the_first_traffic_ever_returns_to_none() -> None:
    state = an_endpoint({"green": 100}, written="green=100", proven="none")

    assert (state.is_unproven, state.proven_traffic) == (True, {})


@pytest.mark.parametrize(
    ("written", "proven"),
    [
        (None, None),
        ("green=100", None),
        (None, "blue=100"),
        ("blue=50,red=50", "blue=100"),
        ("nonsense", "blue=100"),
        ("green=100", "nonsense"),
    ],
    ids=["no tags", "none proven", "none written", "changed since", "written unreadable", "proven unreadable"],
)
def test_traffic_that_rollway_did_not_write_last_counts_as_proven(written: str | None, proven: str | None) -> None:
    state = an_endpoint({"green": 100, "blue": 0}, written, proven)

    assert (state.is_unproven, state.proven_traffic) == (False, {"green": 100})


def test_traffic_that_nothing_is_left_to_return_to_counts_as_proven() -> None:
    state = an_endpoint({"green": 100}, written="green=100", proven="blue=90,red=10", there=("green", "blue"))

    assert (state.is_unproven, state.proven_traffic) == (False, {"green": 100})


def test_letter_case_of_names_does_not_count() -> None:
    state = an_endpoint({"Green": 100}, written="green=100", proven="blue=100", there=("GREEN", "BLUE"))

    assert (state.is_unproven, state.proven_traffic) == (True, {"blue": 100})


@given(MAPS, MAPS, MAPS, st.sets(st.sampled_from(NAMES)))
def test_proven_traffic_is_always_todays_or_the_one_in_the_tag(
    today: dict[str, int], written: dict[str, int], proven: dict[str, int], there: set[str]
) -> None:
    tags = EndpointRecord().moved("run/1", written, proven).tags()
    state = an_endpoint(today, tags[WRITTEN_TRAFFIC], tags[PROVEN_TRAFFIC], tuple(sorted(there)))

    assert state.is_unproven is not traffic.is_same(state.proven_traffic, today)
    if state.is_unproven:
        assert traffic.is_same(written, today)
        assert traffic.is_same(state.proven_traffic, proven)
        assert set(state.proven_traffic) <= there


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


def test_an_asset_is_called_by_name_and_version() -> None:
    assert str(ResolvedAsset(id="x", name="diabetes", version="3")) == "diabetes:3"
    assert str(ResolvedAsset(id=None, name="diabetes", version=None)) == "diabetes:(next version)"
