"""Operations that fail: the reason is Azure's, a temporary one is tried again, and nothing waits for what has ended."""

from collections.abc import Callable
from typing import Any

import pytest

from rollway.azure.abort import AbortResult, abort
from rollway.azure.endpoints import delete_failed_endpoint, write_endpoint
from rollway.azure.online_deployments import delete_online_deployment
from rollway.azure.operations import AGAIN_SECONDS, MOST_TRIES
from rollway.azure.unpolled import Accepted
from rollway.azure.waiting import LAG_SECONDS
from rollway.errors import EndpointFailed
from rollway.rollout.abort import Failure
from rollway.rollout.moves import Kind, Move
from rollway.rollout.record import OnlineDeploymentRecord, with_record
from tests.support.builders import Clock
from tests.support.fake_azure import OURS, THEIRS, FakeAzure, run

CANCELED = {"status": "Failed", "error": {"code": None, "message": "OperationCanceled: Displaced by another one."}}
REFUSED = {"status": "Failed", "error": {"code": None, "message": "BadArgument: The identity may not do that."}}
RUNNING, SUCCEEDED = {"status": "Updating"}, {"status": "Succeeded"}
AGAIN_AT_MOST = 45  # seconds that a look at a delete may come late


class Deletes:
    """Deletes whose operations end as given, one after the other; the last ones succeed and delete.

    Attributes:
        count: The deletes so far.
        meanwhile: Called when a delete has been accepted.
    """

    def __init__(self, azure: FakeAzure, *operations: dict[str, Any]) -> None:
        self._azure, self._operations = azure, list(operations)
        self._delete, self._delete_endpoint = azure._delete, azure._delete_endpoint
        self.count = 0
        self.meanwhile: Callable[[], None] = lambda: None
        azure.instead(delete=self._of_online_deployment, delete_endpoint=self._of_endpoint)

    def _of_online_deployment(self, name: str, endpoint: str) -> Accepted:
        return self._accept() or self._delete(name, endpoint)

    def _of_endpoint(self, name: str) -> Accepted:
        return self._accept() or self._delete_endpoint(name)

    def _accept(self) -> Accepted | None:
        self.count += 1
        self.meanwhile()
        if not self._operations:
            return None
        address = f"https://arm/deletes/{self.count}"
        self._azure.operations[address] = self._operations.pop(0)
        return Accepted(address)


def delete_green(azure: FakeAzure, clock: Clock) -> None:
    run(delete_online_deployment(azure.session, "diabetes", "green", clock=clock))


def delete_endpoint(azure: FakeAzure, clock: Clock) -> None:
    run(delete_failed_endpoint(azure.session, "diabetes", clock))


# Deletes


@pytest.mark.parametrize(
    ("delete", "what"),
    [(delete_green, "the online deployment green"), (delete_endpoint, "the endpoint diabetes")],
)
def test_a_delete_that_fails_ends_the_wait_at_once_with_azures_reason(
    azure: FakeAzure, delete: Callable[[FakeAzure, Clock], None], what: str
) -> None:
    azure.have_endpoint("Failed")
    azure.have("green", "Failed")  # as before the delete
    deletes, clock = Deletes(azure, REFUSED), Clock()

    with pytest.raises(EndpointFailed) as caught:
        delete(azure, clock)

    error = caught.value
    assert (error.what, error.where) == (f"{what} could not be deleted", "endpoint diabetes")
    assert (error.why, error.code) == ("BadArgument: The identity may not do that.", "BadArgument")
    assert (error.exit_code, error.retryable, deletes.count, clock.seconds) == (3, False, 1, 0)


@pytest.mark.parametrize("state", ["Failed", "Succeeded"])
@pytest.mark.parametrize("ended", [CANCELED, {"status": "Canceled"}])
def test_a_delete_that_gave_way_to_another_operation_is_made_again_after_a_minute(
    azure: FakeAzure, state: str, ended: dict[str, Any]
) -> None:
    azure.have("green", state)
    deletes, clock = Deletes(azure, ended), Clock()

    delete_green(azure, clock)

    assert (deletes.count, set(azure.online_deployments)) == (2, {"blue"})
    assert AGAIN_SECONDS <= clock.seconds <= AGAIN_SECONDS + AGAIN_AT_MOST


def test_a_failed_endpoint_whose_delete_gave_way_to_another_operation_is_deleted_again(azure: FakeAzure) -> None:
    azure.have_endpoint("Failed")
    deletes, clock = Deletes(azure, CANCELED), Clock()

    assert run(delete_failed_endpoint(azure.session, "diabetes", clock))

    assert (deletes.count, azure.endpoint) == (2, None)
    assert clock.seconds >= AGAIN_SECONDS


def test_a_delete_that_always_gives_way_ends_after_three_tries(azure: FakeAzure) -> None:
    deletes, clock = Deletes(azure, *[CANCELED] * 10), Clock()

    with pytest.raises(EndpointFailed, match="green could not be deleted") as caught:
        delete_green(azure, clock)

    assert (caught.value.code, "wait a minute" in str(caught.value.hint)) == ("OperationCanceled", True)
    assert (deletes.count, clock.naps) == (MOST_TRIES, [AGAIN_SECONDS] * (MOST_TRIES - 1))


def test_a_delete_that_runs_is_waited_for_although_reads_still_show_the_state_before_it(azure: FakeAzure) -> None:
    azure.have("green", "Failed")
    deletes, clock = Deletes(azure, RUNNING), Clock()
    get, looks = azure._get, iter(range(6))

    def look(name: str, endpoint: str) -> Any:
        if next(looks, None) is None:
            azure.online_deployments.pop("green", None)
        return get(name, endpoint)

    azure.instead(get=look)

    delete_green(azure, clock)

    assert (deletes.count, set(azure.online_deployments)) == (1, {"blue"})


def test_what_somebody_creates_again_after_a_delete_that_succeeded_is_not_waited_for(azure: FakeAzure) -> None:
    deletes, clock = Deletes(azure, SUCCEEDED), Clock()

    delete_green(azure, clock)

    assert (deletes.count, "green" in azure.online_deployments) == (1, True), "the next decision is about the new one"
    assert LAG_SECONDS <= clock.seconds <= LAG_SECONDS + AGAIN_AT_MOST


@pytest.mark.parametrize("change", [OnlineDeploymentRecord().created(THEIRS, "later"), None])
def test_what_somebody_creates_again_after_a_delete_that_failed_is_not_deleted(
    azure: FakeAzure, change: OnlineDeploymentRecord | None
) -> None:
    azure.have("green", tags=with_record({}, OnlineDeploymentRecord().created(OURS, "then")))
    deletes = Deletes(azure, CANCELED)
    deletes.meanwhile = lambda: azure.have("green", tags=with_record({}, change) if change else {})

    delete_green(azure, Clock())

    assert (deletes.count, "green" in azure.online_deployments) == (1, True)


def test_an_endpoint_that_somebody_creates_again_after_a_delete_that_failed_is_not_deleted(azure: FakeAzure) -> None:
    azure.have_endpoint("Failed")
    deletes = Deletes(azure, CANCELED)
    session, clock = azure.session, Clock()

    async def created_again(seconds: float) -> None:
        clock.seconds += seconds
        azure.have_endpoint("Succeeded")

    clock.sleep = created_again  # type: ignore[method-assign]

    assert not run(delete_failed_endpoint(session, "diabetes", clock))
    assert deletes.count == 1


def test_an_abort_does_not_wait_for_a_delete_that_failed_and_says_why(azure: FakeAzure) -> None:
    Deletes(azure, REFUSED)
    failure, clock = Failure(attempt=OURS, at="2026-01-02T03:04:05.678+00:00", candidate="green"), Clock()

    done = run(abort(azure.session, "diabetes", failure, clock=clock))

    remark = "delete online deployment green did not succeed: BadArgument: The identity may not do that."
    assert (done, clock.seconds) == (AbortResult(kept=(remark,), traffic_now={"blue": 100}), 0)


# Writes of the endpoint


def fail_puts(azure: FakeAzure, *operations: dict[str, Any], has_effect: bool = False) -> None:
    """Let the operations of the next writes of the endpoint fail; it becomes Failed.

    Args:
        has_effect: True if it becomes what was written nevertheless; otherwise it stays as it was.
    """
    put, left = azure._put_endpoint, list(operations)

    def put_and_fail(entity: Any) -> None:
        before = entity if has_effect else azure.endpoint
        put(entity)
        if left and before is not None:
            azure.operation = left.pop(0)
            values = {"traffic": dict(before.traffic or {}), "tags": dict(before.tags or {})}
            properties = {"AzureAsyncOperationUri": "https://arm/puts"}
            azure.start_operation(lambda: azure.have_endpoint("Failed", properties=properties, **values))

    azure.instead(put_endpoint=put_and_fail)


def move_traffic(azure: FakeAzure, clock: Clock) -> bool:
    before = azure.state
    record = before.record.moved(OURS, {"green": 100}, {"blue": 100})
    move = Move(kind=Kind.MOVE_TRAFFIC, target="green", why="it answers", traffic={"green": 100}, record=record)
    return run(write_endpoint(azure.session, before, move, clock))


@pytest.mark.parametrize(("lagging_reads", "has_effect"), [(0, False), (3, False), (0, True)])
def test_a_move_of_traffic_that_gave_way_to_another_operation_is_made_again_after_a_minute(
    azure: FakeAzure, lagging_reads: int, has_effect: bool
) -> None:
    azure.lagging_reads, clock = lagging_reads, Clock()
    fail_puts(azure, CANCELED, has_effect=has_effect)

    assert move_traffic(azure, clock)

    assert azure.state.is_settled
    assert not azure.state.is_failed
    assert (azure.traffic, azure.record.moved_by) == ({"green": 100}, OURS)
    assert clock.naps.count(AGAIN_SECONDS) == 1


def test_a_move_of_traffic_that_azure_refuses_for_good_is_made_once(azure: FakeAzure) -> None:
    fail_puts(azure, REFUSED)

    with pytest.raises(EndpointFailed) as caught:
        move_traffic(azure, Clock())

    assert (caught.value.code, azure.traffic) == ("BadArgument", {"blue": 100})
    assert len(azure.writes) == 1


def test_traffic_that_somebody_moves_in_the_minute_before_the_next_try_is_not_overwritten(azure: FakeAzure) -> None:
    fail_puts(azure, CANCELED)
    clock = Clock()

    async def moved_by_another(seconds: float) -> None:
        clock.seconds += seconds
        if seconds == AGAIN_SECONDS:
            azure.set_traffic(blue=50, green=50)

    clock.sleep = moved_by_another  # type: ignore[method-assign]

    assert not move_traffic(azure, clock)
    assert azure.traffic == {"blue": 50, "green": 50}


def test_an_abort_whose_write_gave_way_to_another_operation_restores_the_traffic(azure: FakeAzure) -> None:
    azure.set_traffic(green=100)
    azure.remember(lambda record: record.moved(OURS, {"green": 100}, {"blue": 100}))
    fail_puts(azure, CANCELED)

    done = run(abort(azure.session, "diabetes", Failure(attempt=OURS, at="2026-01-02T03:04:05Z"), clock=Clock()))

    assert (done.traffic_now, azure.traffic) == ({"blue": 100}, {"blue": 100})
