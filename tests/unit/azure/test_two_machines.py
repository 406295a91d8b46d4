"""Two machines roll out to one endpoint at the same time, with the real adapter, in every order of their requests.

Each request to the fake Azure is a turn, and the test draws who has the next one. So a machine decides on what another
has changed since, meets an operation of the other one, loses an answer, or dies in the middle of anything.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollway.azure import autoscale, endpoints, online_deployments, state, threads
from rollway.azure.abort import abort
from rollway.azure.endpoints import write_endpoint
from rollway.azure.online_deployments import delete_online_deployment
from rollway.azure.state import read_endpoint_patiently
from rollway.errors import RollwayError
from rollway.rollout.abort import Failure
from rollway.rollout.decide import decide
from rollway.rollout.entries import End
from rollway.rollout.facts import Facts
from rollway.rollout.moves import Kind, Move, Outcome, require_good_end
from rollway.rollout.plan import facts_after
from rollway.rollout.record import OnlineDeploymentRecord, with_record
from rollway.rollout.state import EndpointState
from rollway.rollout.wanted import RequestedBy, Wanted
from tests.support.builders import rollout_spec
from tests.support.fake_azure import FakeAzure

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SPEC = rollout_spec()
CANDIDATES = {"ours/1": "green", "theirs/1": "red"}
MOST_TURNS = 3000
PAUSE_SECONDS = 5.0  # between two looks at what somebody else does


@coroutine
def turn() -> Generator[None, None, None]:
    """Let the other machine go on."""
    yield


async def call(act: Any, *args: Any, **kwargs: Any) -> Any:
    """Make one request in a turn of its own, without a thread."""
    await turn()
    return act(*args, **kwargs)


@pytest.fixture(autouse=True, scope="module")
def turns() -> Iterator[None]:
    """Every request of the adapter is a turn."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (autoscale, endpoints, online_deployments, state, threads):
            patch.setattr(module, "in_thread", call)
            if hasattr(module, "write_in_thread"):
                patch.setattr(module, "write_in_thread", call)
        # The SDK takes long to tell them, and they decide nothing here.
        patch.setattr(state, "settings_of", lambda _: {})
        yield


@dataclass
class Time:
    """The time of both machines; it passes when somebody sleeps."""

    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and the other machine go on."""
        self.seconds += seconds
        await turn()


@dataclass
class Machine:
    """An attempt that gives all traffic to an online deployment that is ready."""

    azure: FakeAzure
    time: Time
    attempt: str
    candidate: str
    is_good: bool  # whether the live smoke test passes
    requested_by: RequestedBy
    outcome: Outcome | None = None

    async def roll_out(self) -> None:
        """Look, decide and move until nothing is due; abort if it fails."""
        try:
            await self._roll_out()
        except RollwayError:
            failure = Failure(attempt=self.attempt, at=self._now().isoformat(), is_recorded=True)
            await abort(self.azure.session, "diabetes", failure, clock=self.time)

    async def _roll_out(self) -> None:
        wanted = Wanted(goes_back_to=self.candidate, requested_by=self.requested_by)
        known = Facts(attempt=self.attempt, started=self._now())
        lease, since = None, 0.0
        while True:
            seen = await read_endpoint_patiently(self.azure.session, "diabetes", self.time)
            if seen.record.lease != lease or not seen.is_settled:
                lease, since = seen.record.lease, self.time.seconds
            known = known.model_copy(
                update={
                    "now": self._now(),
                    "lease_age_seconds": self.time.seconds - since,
                    "began_with": seen.serving if known.began_with is None else known.began_with,
                }
            )
            move = decide(SPEC, wanted, seen, known)
            require_good_end(move)
            if move.is_end:
                self.outcome = move.outcome
                return
            if await self._make(move, seen):
                known = facts_after(known, move, seen)

    async def _make(self, move: Move, seen: EndpointState) -> bool:
        match move.kind:
            case Kind.WAIT | Kind.SETTLE:
                await self.time.sleep(PAUSE_SECONDS)
            case Kind.SMOKE_TEST:
                await turn()
            case Kind.TEST_LIVE | Kind.TEST_ABANDONED:
                await turn()
                if not self.is_good:
                    raise RollwayError("the live smoke test failed")
            case Kind.DELETE:
                await delete_online_deployment(self.azure.session, "diabetes", move.target, clock=self.time)
            case _:
                return await write_endpoint(self.azure.session, seen, move, self.time)
        return True

    def _now(self) -> datetime:
        return NOW + timedelta(seconds=self.time.seconds)


def an_endpoint(duration: int) -> FakeAzure:
    """`blue` has all traffic; `green` and `red` are ready, each made by one of the machines."""
    azure = FakeAzure()
    azure.duration = duration
    azure.have_endpoint(traffic={"blue": 100})
    azure.have("blue")
    for attempt, name in CANDIDATES.items():
        record = OnlineDeploymentRecord().created(attempt, NOW.isoformat())
        azure.have(name, tags=with_record({}, record))
    return azure


class Watch:
    """The conditions that hold after every turn."""

    def __init__(self, azure: FakeAzure) -> None:
        self._azure = azure
        self.promotions: list[str] = []  # as they were written down
        self._last = azure.record.last

    def look(self) -> None:
        """Traffic goes to what is ready, the record tells the truth about it, and so does each promotion."""
        azure, record = self._azure, self._azure.record
        for name in azure.traffic:
            assert azure.online_deployments[name].provisioning_state == "Succeeded", azure.writes
        assert record.written_traffic in (None, azure.traffic), azure.writes
        if record.last != self._last and record.last is not None and record.last.outcome is End.PROMOTED:
            assert record.live is not None
            assert azure.traffic == {record.live.online_deployment: 100}, azure.writes
            self.promotions.append(record.live.online_deployment)
        self._last = record.last


@st.composite
def pairs(draw: st.DrawFn) -> tuple[FakeAzure, list[Machine]]:
    """An endpoint, and two machines at their start."""
    azure, time = an_endpoint(draw(st.integers(1, 6), label="requests until an operation ends")), Time()
    azure.lost_answers, azure.lost_requests = draw(st.sampled_from([(0, 0), (1, 0), (0, 1), (2, 0)]))
    machines = [
        Machine(
            azure,
            time,
            attempt,
            candidate,
            is_good=draw(st.booleans(), label="the live smoke test passes"),
            requested_by=draw(st.sampled_from([RequestedBy.PERSON, RequestedBy.WATCHER])),
        )
        for attempt, candidate in CANDIDATES.items()
    ]
    return azure, machines


def play(
    azure: FakeAzure, machines: list[Machine], order: list[bool], dies: int | None = None, at: int = 0
) -> list[str]:
    """Let the machines take turns in that order, then alternately, until all have ended; return the promotions.

    Args:
        order: Who has the next turn, the second machine if True.
        dies: The machine that dies, if one does.
        at: The turn in which it dies.
    """
    watch, running = Watch(azure), {number: one.roll_out() for number, one in enumerate(machines)}
    for number in range(MOST_TURNS):
        if number == at and dies in running:
            running.pop(dies).close()
        chosen = int(order[number]) if number < len(order) else number % 2
        if not running:
            return watch.promotions
        chosen = chosen if chosen in running else next(iter(running))
        try:
            running[chosen].send(None)
        except StopIteration:
            del running[chosen]
        watch.look()
    raise AssertionError(f"after {MOST_TURNS} turns: {azure.writes}")


def require_settled(azure: FakeAzure) -> None:
    """Nobody holds the endpoint, and all of its traffic has been tested."""
    azure.instead(note=lambda _: None)
    now = state.state_of(azure._get_endpoint("diabetes"))
    assert (now.record.lease, now.is_unproven) == (None, False), azure.writes


ORDERS = st.lists(st.booleans(), max_size=120)


@given(pairs(), ORDERS)
@settings(max_examples=100)
def test_two_promotions_never_disagree_and_the_last_one_serves(pair: Any, order: list[bool]) -> None:
    azure, machines = pair

    promotions = play(azure, machines, order)

    require_settled(azure)
    assert azure.traffic == {(promotions or ["blue"])[-1]: 100}, azure.writes
    for machine in machines:
        assert machine.is_good or machine.candidate not in promotions
        if machine.outcome is Outcome.DONE:
            assert machine.candidate in promotions


@given(pairs(), ORDERS, st.integers(0, 1), st.integers(0, 80))
@settings(max_examples=100)
def test_whenever_one_machine_dies_the_other_one_ends_and_the_next_run_tidies_up(
    pair: Any, order: list[bool], dies: int, at: int
) -> None:
    azure, machines = pair

    play(azure, machines, order, dies, at)
    azure.end_operation()  # what runs hides its changes, also from the next run
    next_run = Machine(azure, machines[0].time, "next/1", "green", is_good=True, requested_by=RequestedBy.PERSON)
    play(azure, [next_run], [])

    require_settled(azure)
    assert (next_run.outcome, azure.traffic) == (Outcome.DONE, {"green": 100}), azure.writes


@given(pairs(), ORDERS, st.integers(0, 80))
@settings(max_examples=100)
def test_a_good_rollout_of_a_person_is_promoted_whenever_the_other_machine_dies(
    pair: Any, order: list[bool], at: int
) -> None:
    azure, machines = pair
    survivor = machines[0]
    survivor.is_good, survivor.requested_by = True, RequestedBy.PERSON

    play(azure, machines, order, dies=1, at=at)

    assert survivor.outcome is Outcome.DONE
