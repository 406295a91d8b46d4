"""Reads of endpoints and online deployments: what is not there is a value, and a wrong answer never counts as that."""

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError, ServiceRequestError

from rollway.azure.abort import abort
from rollway.azure.state import (
    MOST_UNAVAILABLE,
    read_bare_endpoint,
    read_endpoint,
    read_endpoint_patiently,
    read_online_deployment,
)
from rollway.errors import AzureUnavailable, NotFound, RequestRefused
from rollway.rollout.abort import Failure
from tests.support.builders import Clock
from tests.support.fake_azure import OURS, FakeAzure, answer_with_404_once, refuse, run


def test_an_endpoint_is_read_with_everything_behind_it(azure: FakeAzure) -> None:
    state = run(read_endpoint(azure.session, "diabetes"))

    assert (state.exists, state.traffic, state.tags) == (True, {"blue": 100, "green": 0}, {"team": "ml"})
    assert [(one.name, one.is_succeeded) for one in state.online_deployments] == [("blue", True), ("green", True)]
    assert (state.is_complete, azure.requests) == (True, ["get endpoint", "list"])


def test_a_wait_reads_the_endpoint_alone(azure: FakeAzure) -> None:
    state = run(read_bare_endpoint(azure.session, "diabetes"))

    assert (state.exists, state.is_complete, state.online_deployments) == (True, False, ())
    assert azure.requests == ["get endpoint"]


def test_an_endpoint_that_is_not_there_is_a_value_and_not_an_error() -> None:
    azure = FakeAzure()

    state = run(read_endpoint(azure.session, "diabetes"))

    assert (state.exists, state.name, state.provisioning_state) == (False, "diabetes", "Absent")
    assert azure.requests == ["get endpoint"] * 2


def test_a_single_404_does_not_mean_that_there_is_no_endpoint(azure: FakeAzure) -> None:
    answer_with_404_once(azure, "get_endpoint")

    state = run(read_endpoint(azure.session, "diabetes"))

    assert (state.exists, state.serving, len(state.online_deployments)) == (True, {"blue": 100}, 2)


def not_found(*_: Any) -> Any:
    raise ResourceNotFoundError("no endpoint diabetes")


@pytest.mark.parametrize("call", ["get_endpoint", "list"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_single_404_does_not_keep_traffic_on_a_failed_canary(azure: FakeAzure, call: str, after: int) -> None:
    azure.set_traffic(green=100)
    azure.remember(lambda record: record.moved(OURS, {"green": 100}, {"blue": 100}))
    answer_with_404_once(azure, call, after=after)

    run(abort(azure.session, "diabetes", Failure(attempt=OURS, at="2026-01-02T03:04:05Z"), clock=Clock()))

    assert azure.traffic == {"blue": 100}


def test_a_list_that_knows_no_endpoint_does_not_mean_that_there_is_none(azure: FakeAzure) -> None:
    azure.instead(list=not_found)

    with pytest.raises(AzureUnavailable) as caught:
        run(read_endpoint(azure.session, "diabetes"))

    assert caught.value.what == "the online deployments of 'diabetes' cannot be listed"
    assert caught.value.why == "Azure answers that there is no endpoint, but there is one"
    assert (caught.value.exit_code, caught.value.retryable) == (1, True)


def test_an_endpoint_that_is_deleted_between_its_two_reads_is_gone(azure: FakeAzure) -> None:
    def delete(_: str) -> Any:
        azure.endpoint = None
        raise ResourceNotFoundError("no endpoint diabetes")

    azure.instead(list=delete)

    state = run(read_endpoint(azure.session, "diabetes"))

    assert (state.exists, state.provisioning_state) == (False, "Absent")


def test_a_patient_read_outlasts_an_azure_that_is_unavailable_for_a_while(azure: FakeAzure) -> None:
    list_them, failures = azure._list, [ServiceRequestError("no route"), ResourceNotFoundError("a list that lags")]

    def fail_first(name: str) -> Any:
        if failures:
            raise failures.pop()
        return list_them(name)

    azure.instead(list=fail_first)

    state = run(read_endpoint_patiently(azure.session, "diabetes", Clock()))

    assert len(state.online_deployments) == 2


def test_a_patient_read_ends_if_azure_stays_unavailable(azure: FakeAzure) -> None:
    azure.instead(list=not_found)

    with pytest.raises(AzureUnavailable, match="cannot be listed"):
        run(read_endpoint_patiently(azure.session, "diabetes", Clock()))

    assert azure.requests == ["get endpoint"] * 2 * MOST_UNAVAILABLE


def test_a_read_that_is_refused_is_an_error_at_once(azure: FakeAzure) -> None:
    azure.instead(get_endpoint=refuse)

    with pytest.raises(RequestRefused) as caught:
        run(read_endpoint_patiently(azure.session, "diabetes", Clock()))

    assert (caught.value.what, caught.value.exit_code) == ("cannot read the endpoint 'diabetes'", 2)


def test_an_online_deployment_that_is_not_there_is_none(azure: FakeAzure) -> None:
    assert run(read_online_deployment(azure.session, "diabetes", "red")) is None


def test_an_unknown_workspace_is_not_an_endpoint_that_is_not_there(azure: FakeAzure) -> None:
    def lose(_: str) -> Any:
        error = HttpResponseError("(ResourceGroupNotFound) Resource group 'rg' could not be found.")
        error.status_code = 404
        raise error

    azure.instead(list=lose)

    with pytest.raises(NotFound) as caught:
        run(read_endpoint(azure.session, "diabetes"))

    assert caught.value.what == "cannot read the endpoint 'diabetes'"
