"""A run that is cancelled while it writes: the write ends first, so that who clears up sees what it did."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from rollway.azure import endpoints, online_deployments
from rollway.azure.threads import shielded, write_in_thread
from rollway.errors import DeadlineExceeded
from rollway.rollout.moves import Kind, Move
from tests.support.builders import Clock
from tests.support.fake_azure import OURS, FakeAzure
from tests.unit.azure.conftest import Planned


class SlowCall:
    """A blocking call that ends when the test lets it."""

    def __init__(self, act: Callable[..., Any]) -> None:
        self._act = act
        self.has_begun, self.may_end, self.has_ended = threading.Event(), threading.Event(), False

    def __call__(self, *arguments: Any, **_: Any) -> Any:
        self.has_begun.set()
        assert self.may_end.wait(600)
        result = self._act(*arguments)
        self.has_ended = True
        return result

    async def begun(self) -> None:
        """Waits until somebody is in it."""
        assert await asyncio.to_thread(self.has_begun.wait, 30)


async def turns() -> None:
    """Lets everything else run that can."""
    for _ in range(100):
        await asyncio.sleep(0)


def test_a_cancelled_write_ends_first_however_often_it_is_cancelled() -> None:
    call = SlowCall(lambda: "written")

    async def cancelled() -> bool:
        writing = asyncio.create_task(write_in_thread(call))
        await call.begun()
        for _ in range(3):
            writing.cancel()
            await turns()
        is_patient = not writing.done()
        call.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await writing
        return is_patient and call.has_ended

    assert asyncio.run(cancelled())


def test_a_deadline_of_prefect_ends_only_after_the_write_and_then_it_does() -> None:
    call, went_on = SlowCall(lambda: "written"), []

    async def timed_out() -> None:
        with anyio.CancelScope() as deadline:  # as the timeout of a task does
            begun = asyncio.create_task(call.begun())

            def end(_: object) -> None:
                deadline.cancel()
                call.may_end.set()

            begun.add_done_callback(end)
            went_on.append(await write_in_thread(call))
            await asyncio.sleep(0)
            went_on.append("further")

    asyncio.run(timed_out())

    assert (call.has_ended, went_on) == (True, ["written"])


def test_an_event_loop_that_ends_waits_for_the_write() -> None:
    call, seen = SlowCall(lambda: "written"), []

    async def writing() -> None:
        try:
            await write_in_thread(call)
        except asyncio.CancelledError:
            seen.append(call.has_ended)
            raise

    async def interrupted() -> None:
        task = asyncio.create_task(writing())
        await call.begun()
        assert not task.done()
        asyncio.get_running_loop().call_later(0.05, call.may_end.set)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(interrupted())

    assert seen == [True]


def test_the_error_of_a_write_is_its_callers() -> None:
    def refuse() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(write_in_thread(refuse))


class Abort:
    """An abort that reads, writes and reads, and ends when the test lets it."""

    def __init__(self) -> None:
        self.write, self.steps = SlowCall(lambda: "written"), ["began"]

    async def run(self) -> str:
        await asyncio.sleep(0)
        self.steps.append(await write_in_thread(self.write))
        await asyncio.sleep(0)
        self.steps.append("read back")
        return "restored"


def test_a_shielded_abort_gives_its_result() -> None:
    abort = Abort()
    abort.write.may_end.set()

    assert asyncio.run(shielded(abort.run(), deadline_seconds=60)) == "restored"


def test_a_shielded_abort_ends_before_the_cancellation_goes_on() -> None:
    abort = Abort()

    async def cancelled() -> bool:
        aborting = asyncio.create_task(shielded(abort.run(), deadline_seconds=60))
        await abort.write.begun()
        for _ in range(3):
            aborting.cancel()
            await turns()
        is_patient = not aborting.done()
        abort.write.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await aborting
        return is_patient

    assert asyncio.run(cancelled())
    assert abort.steps == ["began", "written", "read back"]


def test_a_shielded_abort_ends_although_the_event_loop_of_the_flow_is_ended_meanwhile() -> None:
    abort = Abort()

    async def flow() -> None:
        try:
            raise ValueError("the smoke test failed")
        except BaseException:
            await shielded(abort.run(), deadline_seconds=60)
            raise

    async def terminated() -> None:
        task = asyncio.create_task(flow())
        await abort.write.begun()
        assert not task.done()
        asyncio.get_running_loop().call_later(0.05, abort.write.may_end.set)
        raise SystemExit  # as Prefect's handler of SIGTERM does: the loop then cancels all of its tasks

    with pytest.raises(SystemExit):
        asyncio.run(terminated())

    assert abort.steps == ["began", "written", "read back"]


def test_a_shielded_abort_that_takes_too_long_ends_by_its_deadline() -> None:
    with pytest.raises(DeadlineExceeded) as raised:
        asyncio.run(shielded(asyncio.Event().wait(), deadline_seconds=0))

    assert raised.value.what == "the last resort has not ended within 0 s"


def test_the_error_of_a_shielded_abort_is_its_callers() -> None:
    async def fail() -> None:
        raise TimeoutError("of Azure, not of the deadline")

    with pytest.raises(TimeoutError, match="of Azure, not of the deadline"):
        asyncio.run(shielded(fail(), deadline_seconds=60))


def calls(azure: FakeAzure, planned: Planned) -> dict[str, Callable[[], Coroutine[Any, Any, Any]]]:
    """Every call of the adapter that writes, by the request that it makes."""
    session, clock, before = azure.session, Clock(), azure.state
    record = Move(kind=Kind.RECORD, target="diabetes", why="somebody said so", record=azure.record.paused("a reason"))
    to_green = record.model_copy(update={"kind": Kind.MOVE_TRAFFIC, "traffic": {"green": 100}})
    change = Move(kind=Kind.CHANGE, target="green", why="the file says so", instances=2)
    spec, wanted, create = planned.spec, planned.wanted, planned.create
    return {
        "put_endpoint": lambda: endpoints.write_endpoint(session, before, to_green, clock),
        "patch_endpoint_tags": lambda: endpoints.write_endpoint(session, before, record, clock),
        "delete_endpoint": lambda: endpoints.delete_failed_endpoint(session, "diabetes", clock),
        "put": lambda: online_deployments.create_online_deployment(session, spec, wanted, create, OURS, clock=clock),
        "put in place": lambda: online_deployments.change_online_deployment(
            session, "diabetes", {}, change, clock=clock
        ),
        "delete": lambda: online_deployments.delete_online_deployment(session, "diabetes", "green", clock=clock),
    }


@pytest.mark.parametrize(
    "write", ["put_endpoint", "patch_endpoint_tags", "delete_endpoint", "put", "put in place", "delete"]
)
def test_every_write_to_an_endpoint_ends_before_the_cancellation_goes_on(
    azure: FakeAzure, planned: Planned, write: str
) -> None:
    name = write.partition(" ")[0]
    if name == "delete_endpoint":
        azure.have_endpoint("Failed")
    slow = SlowCall(getattr(azure, f"_{name}"))
    azure.instead(**{name: slow})
    act = calls(azure, planned)[write]

    async def cancelled() -> bool:
        acting = asyncio.create_task(act())
        await slow.begun()
        acting.cancel()
        await turns()
        is_patient = not acting.done()
        slow.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await acting
        return is_patient

    assert asyncio.run(cancelled())
    assert slow.has_ended
    assert len(azure.writes) == 1
