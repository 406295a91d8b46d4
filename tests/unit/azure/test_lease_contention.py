"""Two rollouts that want one endpoint, in every order of their calls: a stolen or expired lease never lets both write.

The rollouts are stepped by hand from call to call, without an event loop and without threads; hypothesis, or the test,
says who goes next. Each has its own clock, so one that is not stepped is one that hangs.
"""

from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.azure import abort, endpoints, lease, online_deployments, state
from rollway.errors import ForeignChange, LeaseLost, RollwayError
from tests.support.builders import Clock, a_plan
from tests.support.fake_azure import OURS, THEIRS, FakeAzure

TTL_SECONDS = 2
# The writes; each follows a look at the lease.
FENCED = ("_put_endpoint", "_put", "_delete", "_patch_endpoint_tags")
Call = Coroutine[Any, Any, Any]


class Turn:
    """An awaitable that lets the other rollout go first; `before` names the next call."""

    def __init__(self, before: str) -> None:
        self.before = before

    def __await__(self) -> Generator["Turn", None, None]:
        yield self


class TurnClock(Clock):
    """A clock of one rollout; its sleeps are turns too."""

    async def sleep(self, seconds: float) -> None:
        """Lets time pass for this rollout."""
        await Turn("sleep")
        await super().sleep(seconds)


class Rollout:
    """One of the two, stepped from turn to turn."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.next_call = ""
        self.is_done = False
        self.error: RollwayError | None = None
        self.result: Any = None

    def step(self) -> None:
        """Goes on to the next turn, or to the end."""
        try:
            self.next_call = self._call.send(None).before
        except StopIteration as ended:
            self.is_done, self.result = True, ended.value
        except RollwayError as error:
            self.is_done, self.error = True, error

    def step_to(self, call: str) -> None:
        """Goes on until it is about to make that call."""
        while not self.is_done and self.next_call != call:
            self.step()
        assert self.next_call == call

    def finish(self) -> "Rollout":
        """Goes on to the end, alone."""
        while not self.is_done:
            self.step()
        return self


@pytest.fixture(autouse=True, scope="module")
def stepped() -> Iterable[None]:
    """Makes each call to Azure a turn instead of a thread."""

    async def in_turn(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await Turn(getattr(call, "__name__", "list"))
        return call(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for module in (lease, state, endpoints, online_deployments):
            patch.setattr(module, "in_thread", in_turn)
        for module in (lease, endpoints, online_deployments):
            patch.setattr(module, "write_in_thread", in_turn)
        patch.setenv("ROLLWAY_LEASE_SECONDS", str(TTL_SECONDS))
        yield


def an_endpoint() -> FakeAzure:
    azure = FakeAzure()
    azure.have_endpoint(traffic={"blue": 100})
    return azure


def acquiring(azure: FakeAzure, run_id: str, timeout_seconds: float = 1000) -> Rollout:
    return Rollout(lease.acquire(azure.session, "diabetes", run_id, timeout_seconds=timeout_seconds, clock=TurnClock()))


async def a_rollout(azure: FakeAzure, run_id: str) -> None:
    """Takes the endpoint, gives all traffic to its own online deployment, and gives the endpoint back."""
    clock = TurnClock()
    before = await lease.acquire(azure.session, "diabetes", run_id, timeout_seconds=1000, clock=clock)
    await endpoints.move_traffic(
        azure.session,
        "diabetes",
        {run_id.partition("/")[0]: 100},
        expected=before.traffic,
        proven=before.traffic,
        run_id=run_id,
        clock=clock,
    )
    await lease.try_release(azure.session, "diabetes", run_id, clock=clock)


def interleave(rollouts: tuple[Rollout, Rollout], order: Iterable[bool], is_atomic: Callable[[str], bool]) -> None:
    """Steps both in that order, then the rest one after the other; a call that `is_atomic` follows at once."""
    for first in order:
        chosen = rollouts[0] if first else rollouts[1]
        if not chosen.is_done:
            chosen.step()
            while not chosen.is_done and is_atomic(chosen.next_call):
                chosen.step()
    for one in rollouts:
        one.finish()


ORDERS = st.lists(st.booleans(), max_size=60) | st.builds(
    lambda runs: [first for first, length in runs for _ in range(length)],
    st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=6),
)


def writers(azure: FakeAzure) -> dict[str, Callable[[str], Call]]:
    """Every call that writes, for a run attempt that believes to hold the endpoint."""
    session, plan = azure.session, a_plan()
    live, changed = {"blue": 100}, {"ours": 100}
    return {
        "move traffic": lambda run_id: endpoints.move_traffic(
            session, "diabetes", changed, expected=live, proven=live, run_id=run_id, clock=TurnClock()
        ),
        "confirm": lambda run_id: endpoints.confirm_promotion(session, plan, run_id, clock=TurnClock()),
        "update": lambda run_id: online_deployments.update_online_deployment(
            session, plan.model_copy(update={"online_deployment": "ours"}), run_id, clock=TurnClock()
        ),
        "delete": lambda run_id: online_deployments.delete_online_deployment(
            session, "diabetes", "ours", run_id, clock=TurnClock()
        ),
        "release": lambda run_id: lease.release(session, "diabetes", run_id, clock=TurnClock()),
    }


@given(ORDERS)
def test_of_two_that_want_a_free_endpoint_one_holds_it_in_the_end_and_the_other_cannot_write(order: list[bool]) -> None:
    azure = an_endpoint()
    both = (acquiring(azure, OURS), acquiring(azure, THEIRS))

    interleave(both, order, is_atomic=lambda _: False)

    assert [one.error for one in both] == [None, None]
    (loser,) = {OURS, THEIRS} - {azure.holder}
    before = list(azure.writes)
    assert isinstance(Rollout(writers(azure)["move traffic"](loser)).finish().error, LeaseLost)
    assert Rollout(abort.abort(azure.session, "diabetes", loser, clock=TurnClock())).finish().result.cleaned_up == ()
    assert azure.writes == before
    assert azure.traffic == {"blue": 100}


@given(ORDERS)
def test_whoever_writes_traffic_holds_the_lease_in_that_moment(order: list[bool]) -> None:
    azure = an_endpoint()
    put, seen = azure._put_endpoint, []

    def noting(entity: Any) -> None:
        written = len(azure.writes)
        holder = azure.holder
        put(entity)
        assert len(azure.writes) == written + 1
        seen.append((holder, entity.tags["rollway:run"]))

    azure._put_endpoint = noting  # type: ignore[method-assign]
    both = (Rollout(a_rollout(azure, OURS)), Rollout(a_rollout(azure, THEIRS)))

    interleave(both, order, is_atomic=lambda call: call in ("noting", *FENCED))

    assert seen
    assert all(holder == writer for holder, writer in seen)
    assert azure.traffic == {seen[-1][1].partition("/")[0]: 100}
    for one in both:
        assert one.error is None or isinstance(one.error, ForeignChange)
    assert None in [one.error for one in both], "one of them always gets through"


@given(ORDERS)
def test_two_rollouts_of_which_none_hangs_both_get_through_one_after_the_other(order: list[bool]) -> None:
    azure = an_endpoint()
    both = (Rollout(a_rollout(azure, OURS)), Rollout(a_rollout(azure, THEIRS)))
    # Whoever waits goes on only when the other does: nobody hangs for as long as a lease is valid.
    fair = [first for chosen in order for first in (chosen, not chosen)] + [True, False] * 200

    interleave(both, fair, is_atomic=lambda call: call in FENCED)

    assert [one.error for one in both] == [None, None]
    assert sorted(write for write in azure.writes if write.startswith("put")) == [
        "put endpoint {'ours': 100}",
        "put endpoint {'theirs': 100}",
    ]
    assert azure.holder is None


@pytest.mark.parametrize("name", list(writers(FakeAzure())))
def test_after_a_theft_no_call_of_the_old_holder_writes(name: str) -> None:
    azure = an_endpoint()
    azure.have("ours")
    acquiring(azure, OURS).finish()
    acquiring(azure, THEIRS).finish()
    assert azure.writes == [f"lease to {OURS}", f"lease to {THEIRS}"]

    error = Rollout(writers(azure)[name](OURS)).finish().error

    assert isinstance(error, LeaseLost)
    assert error.why is not None
    assert error.why.startswith(f"it is held by {THEIRS} since ")
    assert azure.writes == [f"lease to {OURS}", f"lease to {THEIRS}"]
    assert set(azure.online_deployments) == {"ours"}


@pytest.mark.parametrize("name", list(writers(FakeAzure())))
def test_a_theft_while_the_old_holder_is_busy_with_a_call_is_found_before_it_writes(name: str) -> None:
    azure = an_endpoint()
    azure.have("ours")
    acquiring(azure, OURS).finish()
    azure.start_operation(lambda: None)
    writing = Rollout(writers(azure)[name](OURS))
    writing.step()
    acquiring(azure, THEIRS).finish()

    error = writing.finish().error

    assert isinstance(error, LeaseLost)
    assert azure.writes == [f"lease to {OURS}", f"lease to {THEIRS}"]


@pytest.mark.parametrize("name", list(writers(FakeAzure())))
def test_a_lease_that_has_expired_but_was_not_stolen_still_lets_its_holder_write(name: str) -> None:
    azure = an_endpoint()
    azure.have("ours")
    azure.lease_to(OURS, ttl_seconds=1, renewed_at="1970-01-01T00:00:00+00:00")

    assert Rollout(writers(azure)[name](OURS)).finish().error is None
    assert len(azure.writes) == 1


def test_one_that_hangs_between_its_look_and_its_write_stops_the_thief_and_not_both_go_on() -> None:
    azure = an_endpoint()
    azure.have("ours")
    acquiring(azure, OURS).finish()
    moving = Rollout(writers(azure)["move traffic"](OURS))
    moving.step_to("_put_endpoint")
    acquiring(azure, THEIRS).finish()

    moving.finish()

    # No service without compare-and-set can refuse that write; it carries the lease, so that the thief learns of it.
    assert (moving.error, azure.holder, azure.traffic) == (None, OURS, {"ours": 100})
    before = list(azure.writes)
    for name, write in writers(azure).items():
        assert isinstance(Rollout(write(THEIRS)).finish().error, LeaseLost), name
    assert azure.writes == before


def test_a_lost_answer_makes_no_second_holder() -> None:
    azure = an_endpoint()
    azure.have("ours")
    azure.lost_answers = 1
    ours, theirs = acquiring(azure, OURS), acquiring(azure, THEIRS, timeout_seconds=1)
    ours.step_to("_patch_endpoint_tags")
    theirs.step_to("_patch_endpoint_tags")

    ours.step()
    theirs.step()
    ours.finish()
    theirs.finish()

    assert (ours.error, type(theirs.error).__name__) == (None, "AnotherRollout")
    assert (azure.holder, azure.writes) == (OURS, [f"lease to {OURS}"])


def test_one_that_saw_a_free_endpoint_long_ago_does_not_rob_who_has_taken_it_since() -> None:
    azure = an_endpoint()
    ours, theirs = acquiring(azure, OURS), acquiring(azure, THEIRS, timeout_seconds=1)
    theirs.step_to("<lambda>")  # it has read the endpoint, and is about to read what is behind it

    ours.finish()
    theirs.finish()

    assert (ours.error, type(theirs.error).__name__) == (None, "AnotherRollout")
    assert (azure.holder, azure.writes) == (OURS, [f"lease to {OURS}"])
