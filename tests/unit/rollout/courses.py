"""Courses of progressive rollouts without Azure: time passes only while a run waits, and a test gives the verdicts."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rollway.rollout.decide import decide
from rollway.rollout.entries import Order
from rollway.rollout.evidence import Judgement, Measure, Verdict
from rollway.rollout.facts import Facts, Look
from rollway.rollout.moves import Kind, Move
from rollway.rollout.plan import after
from rollway.rollout.state import EndpointState
from rollway.rollout.wanted import Wanted
from rollway.spec import RolloutSpec, Step
from tests.unit.rollout.examples import (
    NOW,
    facts,
    is_refused_by_azure,
    name_of,
    order,
    rolled_out,
    spec_with,
    wanted,
    with_changes,
)

LAG = 240
STEPS = (Step(weight=5), Step(weight=25, bake_seconds=3600), Step(weight=100, bake_seconds=7200))
V1, V2 = name_of("1"), name_of("2")


def progressive(**changes: Any) -> RolloutSpec:
    """The folder with `strategy: progressive` and the default steps."""
    return spec_with({"strategy": "progressive", "steps": STEPS, "deadline_seconds": 40_000, **changes})


def verdict(word: Verdict, sentence: str = "the numbers") -> Judgement:
    return Judgement(verdict=word, measures=(Measure(name="errors", verdict=word, sentence=sentence),))


GOOD = verdict(Verdict.SUCCESSFUL)


class Told(NamedTuple):
    """A run of a progressive rollout: the endpoint after it, its moves, its last decision and what it knows."""

    endpoint: EndpointState
    moves: list[Move]
    last: Move
    facts: Facts

    @property
    def weights(self) -> list[int]:
        """The percent of traffic that the canary got, step by step."""
        return [(move.traffic or {}).get(V2, 0) for move in self.moves if move.kind is Kind.MOVE_TRAFFIC]

    @property
    def writes(self) -> list[Kind]:
        """The writes to the endpoint."""
        return [move.kind for move in self.moves if move.record is not None]


def go(
    spec: RolloutSpec,
    state: EndpointState,
    what: Wanted | None = None,
    known: Facts | None = None,
    judged: Callable[[int, datetime], Judgement] = lambda _number, _at: GOOD,
    until: Callable[[Move, Facts], bool] = lambda _move, _facts: False,
    between: Callable[[EndpointState, Move, Facts], EndpointState] = lambda state, _move, _facts: state,
) -> Told:
    """Carry out what `decide` says; time passes only while it waits.

    Args:
        judged: The verdict of a look, from the number of the step and the time.
        until: Ends the run before a move.
        between: Somebody else's change after a move.
    """
    what, moves = what or wanted("2", is_progressive=True), []
    known = (known or facts()).model_copy(update={"began_with": state.serving})
    while not (move := decide(spec, what, state, known)).is_end and not until(move, known):
        assert move.why, move
        assert not is_refused_by_azure(move, state), (move, state)
        moves.append(move)
        assert len(moves) < 2500, f"it does not converge: {[str(one) for one in moves[-4:]]}"
        if move.kind is Kind.LOOK:
            underway = state.record.underway
            assert underway is not None
            look = Look(number=underway.number, at=known.now, judgement=judged(underway.number, known.now))
            known = known.model_copy(update={"look": look})
        elif move.kind in (Kind.BAKE, Kind.HOLD, Kind.GATE):
            assert move.until is not None
            assert move.until > known.now, move
            known = known.model_copy(update={"now": move.until})
        else:
            state, known = after(spec, what, state, known, move)
        state = between(state, move, known)
    return Told(state, moves, move, known)


GATED = (Step(weight=25, gate=True), Step(weight=100))


def tell(word: Order, kind: Kind) -> Callable[[EndpointState, Move, Facts], EndpointState]:
    """Somebody gives an order after the first move of that kind."""
    given: list[Order] = []

    def between(state: EndpointState, move: Move, known: Facts) -> EndpointState:
        if move.kind is kind and not given:
            given.append(word)
            return with_changes(state, state.record.told(order(word, known.now + timedelta(seconds=1))))
        return state

    return between


def half_way(**changes: Any) -> Told:
    """A rollout whose process ends while it bakes at 25 %."""
    return go(
        progressive(**changes),
        rolled_out("1"),
        until=lambda move, known: move.kind is Kind.BAKE and known.now > NOW + timedelta(seconds=2500),
    )
