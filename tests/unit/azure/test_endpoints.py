"""Endpoints are created, changed and deleted: each write is made once, waited for, and safe to repeat."""

from typing import Any

import pytest

from rollway.azure.endpoints import (
    change_endpoint,
    create_endpoint,
    delete_failed_endpoint,
)
from rollway.azure.unpolled import Accepted
from rollway.azure.waiting import LAG_SECONDS
from rollway.errors import DeadlineExceeded, EndpointFailed, NotFound, RequestRefused
from rollway.rollout.record import CREATED_AT, CREATED_BY
from rollway.rollout.state import EndpointState
from rollway.spec import RolloutSpec
from tests.support.builders import Clock, rollout_spec
from tests.support.fake_azure import OURS, THEIRS, FakeAzure, refuse, run
from tests.unit.azure.conftest import Planned

AAD = rollout_spec(endpoint={"auth_mode": "aad_token", "tags": {"new": "tag"}})


def create(azure: FakeAzure, planned: Planned, clock: Clock | None = None) -> None:
    run(create_endpoint(azure.session, planned.spec, OURS, clock or Clock()))


def test_a_missing_endpoint_is_created_without_traffic_and_marked_as_ours(planned: Planned) -> None:
    azure = FakeAzure()

    create(azure, planned)

    assert (azure.writes, azure.holder) == (["put endpoint {}"], None)
    assert azure.tags == {CREATED_BY: OURS, CREATED_AT: azure.tags[CREATED_AT]}
    assert azure.tags[CREATED_AT].startswith("20"), "a time"


def test_an_endpoint_that_is_there_is_not_created_again(azure: FakeAzure, planned: Planned) -> None:
    create(azure, planned)

    assert (azure.writes, azure.tags) == ([], {"team": "ml"})


@pytest.mark.parametrize("loss", ["lost_answers", "lost_requests"])
def test_a_creation_of_which_the_answer_or_the_request_is_lost_is_made_once(planned: Planned, loss: str) -> None:
    azure = FakeAzure()
    setattr(azure, loss, 1)

    create(azure, planned)

    assert azure.writes == ["put endpoint {}"]


def test_a_new_endpoint_that_reads_do_not_show_yet_is_waited_for(planned: Planned) -> None:
    azure, clock = FakeAzure(), Clock()
    azure.lagging_reads = 4

    create(azure, planned, clock)

    assert azure.writes == ["put endpoint {}"]
    assert clock.naps, "it was not there at the first look"


def test_a_new_endpoint_that_nobody_ever_sees_is_an_error(planned: Planned) -> None:
    azure, clock = FakeAzure(), Clock()
    azure.lagging_reads = 10_000

    with pytest.raises(NotFound) as caught:
        create(azure, planned, clock)

    assert caught.value.what == "the endpoint 'diabetes' has disappeared"
    assert LAG_SECONDS <= clock.seconds < 2 * LAG_SECONDS


def test_a_name_that_is_taken_says_where_to_choose_another(planned: Planned) -> None:
    azure = FakeAzure()

    azure.instead(put_endpoint=refuse)

    with pytest.raises(RequestRefused, match="cannot create the endpoint 'diabetes'") as caught:
        create(azure, planned)

    assert "choose another name in endpoint.yml" in str(caught.value)


def test_a_creation_that_fails_says_why(planned: Planned) -> None:
    azure = FakeAzure()
    azure.operation = {"error": {"code": "BadRequest", "message": "The subnet is full."}}
    put, properties = azure._put_endpoint, {"AzureAsyncOperationUri": "https://arm.example/operation"}

    def put_and_fail(entity: Any) -> None:
        put(entity)
        azure.start_operation(lambda: azure.have_endpoint("Failed", properties=properties))

    azure.instead(put_endpoint=put_and_fail)

    with pytest.raises(EndpointFailed) as caught:
        create(azure, planned)

    assert caught.value.what == "the operation on the endpoint 'diabetes' failed"
    assert (caught.value.where, caught.value.exit_code) == ("endpoint diabetes", 3)
    assert "The subnet is full." in str(caught.value.why)


def change(azure: FakeAzure, spec: RolloutSpec = AAD, before: EndpointState | None = None) -> None:
    run(change_endpoint(azure.session, spec, before or azure.state, Clock()))


def test_an_endpoint_is_changed_to_what_its_file_says_and_keeps_its_traffic_and_tags(azure: FakeAzure) -> None:
    azure.lease_to(THEIRS)

    change(azure)

    assert azure.endpoint is not None
    assert (azure.endpoint.auth_mode, azure.traffic, azure.holder) == ("aad_token", {"blue": 100}, THEIRS)
    assert azure.tags == {"team": "ml", "new": "tag"}
    assert azure.writes == ["put endpoint {'blue': 100}"]


@pytest.mark.parametrize(
    ("in_the_file", "afterwards"), [(None, "by hand"), ("", ""), ("ours", "ours")], ids=["no key", "empty", "a text"]
)
def test_a_description_changes_only_if_the_file_has_one(
    azure: FakeAzure, in_the_file: str | None, afterwards: str
) -> None:
    assert azure.endpoint is not None
    azure.endpoint.description = "by hand"

    change(azure, rollout_spec(endpoint={"description": in_the_file, "auth_mode": "aad_token"}))

    assert azure.endpoint.description == afterwards


def test_a_change_is_waited_for_even_if_reads_lag_behind_it(azure: FakeAzure) -> None:
    azure.lagging_reads = 3

    change(azure)

    assert azure.state.auth_mode == "aad_token", "the next decision sees it"


def test_an_endpoint_that_another_changed_meanwhile_is_not_changed(azure: FakeAzure) -> None:
    before = azure.state
    azure.set_traffic(green=100)

    change(azure, before=before)

    assert (azure.writes, azure.traffic) == ([], {"green": 100})


@pytest.mark.parametrize("loss", ["lost_answers", "lost_requests"])
def test_a_change_of_which_the_answer_or_the_request_is_lost_is_made_once(azure: FakeAzure, loss: str) -> None:
    before = azure.state
    setattr(azure, loss, 1)

    change(azure, before=before)

    assert azure.writes == ["put endpoint {'blue': 100}"]
    assert azure.state.auth_mode == "aad_token"


def test_a_change_that_fails_is_an_error_that_says_so(azure: FakeAzure) -> None:
    put = azure._put_endpoint

    def put_and_fail(entity: Any) -> None:
        put(entity)
        azure.start_operation(lambda: azure.have_endpoint("Failed"))

    azure.instead(put_endpoint=put_and_fail)

    with pytest.raises(EndpointFailed, match="the operation on the endpoint 'diabetes' failed") as caught:
        change(azure)

    assert caught.value.why == "Azure gives no reason; the state is Failed"


def test_an_earlier_failure_that_a_read_still_shows_is_not_a_new_one(azure: FakeAzure) -> None:
    azure.have_endpoint("Failed", traffic={"blue": 100})
    azure.lagging_reads = 3

    change(azure)

    assert azure.state.auth_mode == "aad_token"


def test_an_endpoint_that_disappears_meanwhile_is_an_error_that_says_so(azure: FakeAzure) -> None:
    put = azure._put_endpoint

    def put_and_vanish(entity: Any) -> None:
        put(entity)
        azure.start_operation(lambda: setattr(azure, "endpoint", None))

    azure.instead(put_endpoint=put_and_vanish)

    with pytest.raises(NotFound) as caught:
        change(azure)

    assert caught.value.what == "the endpoint 'diabetes' has disappeared"
    assert caught.value.hint == "somebody deleted it: run the rollout again"


def test_deleting_a_failed_endpoint_waits_until_it_is_gone(azure: FakeAzure) -> None:
    azure.have_endpoint("Failed")

    assert run(delete_failed_endpoint(azure.session, "diabetes", Clock()))

    assert (azure.writes, azure.endpoint, azure.online_deployments) == (["delete endpoint diabetes"], None, {})


def test_an_endpoint_that_was_created_again_is_not_deleted(azure: FakeAzure) -> None:
    assert not run(delete_failed_endpoint(azure.session, "diabetes", Clock()))

    assert azure.writes == []


def test_an_endpoint_that_is_gone_already_is_not_deleted_again() -> None:
    azure = FakeAzure()

    assert run(delete_failed_endpoint(azure.session, "diabetes", Clock()))

    assert azure.writes == []


def test_deleting_a_failed_endpoint_that_is_busy_waits_until_it_is_free(azure: FakeAzure) -> None:
    azure.have_endpoint("Failed")
    azure.start_operation(lambda: None, requests=5)

    run(delete_failed_endpoint(azure.session, "diabetes", Clock()))

    assert azure.endpoint is None


def test_an_endpoint_that_does_not_go_away_ends_with_the_deadline(azure: FakeAzure) -> None:
    azure.have_endpoint("Failed")
    azure.instead(delete_endpoint=lambda _: Accepted())

    with pytest.raises(DeadlineExceeded) as caught:
        run(delete_failed_endpoint(azure.session, "diabetes", Clock()))

    assert caught.value.what == "deleting the endpoint diabetes took longer than 1800 s"
    assert caught.value.why == "it was last seen as: Failed"
