"""The online deployment that a person means."""

import pytest

from rollway.errors import NotFound
from rollway.rollout.choice import choose, nothing_serves
from rollway.rollout.state import EndpointState, OnlineDeploymentState


def endpoint(*names: str, **traffic: int) -> EndpointState:
    """An endpoint with these online deployments."""
    behind = tuple(OnlineDeploymentState(name=name, provisioning_state="Succeeded", instance_count=1) for name in names)
    return EndpointState(name="diabetes", traffic=traffic, online_deployments=behind)


@pytest.mark.parametrize(
    ("state", "name", "chosen"),
    [
        (endpoint("blue", "green", blue=10, green=90), None, "green"),
        (endpoint("blue", "green", blue=10, green=90), "BLUE", "blue"),
        (endpoint("blue", gone=100), None, "blue"),
        (endpoint("blue"), None, "blue"),
    ],
    ids=["the heaviest", "the named one", "the other one is gone", "the only one"],
)
def test_the_named_one_is_meant_or_the_one_that_serves(state: EndpointState, name: str | None, chosen: str) -> None:
    assert choose(state, name).name == chosen


@pytest.mark.parametrize(
    ("state", "name", "what", "hint"),
    [
        (
            endpoint("blue", blue=100),
            "bleu",
            "there is no online deployment 'bleu'",
            "it has blue, did you mean 'blue'?",
        ),
        (endpoint(), "blue", "there is no online deployment 'blue'", "it has none"),
        (endpoint("blue", "green"), None, "nothing serves yet", "name one with --online-deployment: blue, green"),
        (endpoint(), None, "nothing serves yet", "roll a version out first"),
    ],
    ids=["a typo", "none at all", "which of two", "nothing"],
)
def test_who_is_unclear_is_an_error_that_says_whom_there_is(
    state: EndpointState, name: str | None, what: str, hint: str
) -> None:
    with pytest.raises(NotFound) as caught:
        choose(state, name)

    assert (caught.value.what, caught.value.hint) == (what, hint)
    assert caught.value.where == "endpoint diabetes"


def test_an_endpoint_without_traffic_names_what_could_answer() -> None:
    assert nothing_serves(endpoint("blue")).hint == "name one with --online-deployment: blue"
