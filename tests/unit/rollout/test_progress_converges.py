"""Whatever happens to a progressive rollout, it ends promoted, or with all traffic one write away from stable."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from rollway.rollout.abort import Failure, decide_abort
from rollway.rollout.decide import decide
from rollway.rollout.entries import Order
from rollway.rollout.evidence import Verdict
from rollway.rollout.facts import Facts, Look
from rollway.rollout.moves import Kind, Move, Outcome
from rollway.rollout.plan import after, plan
from rollway.rollout.record import EndpointRecord
from rollway.rollout.rollback import wanted_to_go_on
from rollway.rollout.state import EndpointState
from rollway.rollout.wanted import RequestedBy, Wanted
from rollway.spec import Judge, Progression, RolloutSpec, Step
from rollway.spec.progressive import check_progression
from tests.unit.rollout.courses import V1, V2, Told, go, progressive, verdict
from tests.unit.rollout.examples import (
    NOW,
    facts,
    is_refused_by_azure,
    order,
    rolled_out,
    wanted,
    with_changes,
)

MOST = 400
WAITS = (Kind.BAKE, Kind.HOLD, Kind.GATE)

steps = st.lists(st.integers(1, 99), max_size=3, unique=True).flatmap(
    lambda weights: st.builds(
        lambda mirror, gates, bake: (
            *([Step(mirror=mirror, bake_seconds=bake)] if mirror else []),
            *(
                Step(weight=weight, bake_seconds=bake, gate=gate)
                for weight, gate in zip(sorted(weights), gates, strict=False)
            ),
            Step(weight=100, bake_seconds=bake),
        ),
        st.none() | st.integers(1, 50),
        st.lists(st.booleans(), min_size=3, max_size=3),
        st.integers(0, 7200),
    )
)
judges = st.builds(
    lambda source, inconclusive, failure: Judge.model_validate(
        {"source": source, "on_inconclusive": inconclusive, "on_failure": failure, "minimum_requests": 10}
    ),
    st.sampled_from(["metrics", "both", "probes"]),
    st.sampled_from(["hold", "abort", "promote"]),
    st.sampled_from(["abort", "hold"]),
)
folders = st.builds(lambda steps, judge: progressive(steps=steps, judge=judge, deadline_seconds=100_000), steps, judges)
verdicts = st.sampled_from(Verdict)
events = st.sampled_from(["nothing", "nothing", "nothing", "death", "wake", "foreign", *Order])


def disturb(event: str, state: EndpointState, known: Facts, what: Wanted) -> tuple[EndpointState, Facts, Wanted]:
    """Return the endpoint, the facts and the goal after somebody's death, wake, edit or order."""
    if event in list(Order):
        return with_changes(state, state.record.told(order(Order(event), known.now))), known, what
    if event == "foreign" and state.record.underway is not None and state.online_deployment(V2) is not None:
        return with_changes(state, traffic={V1: 40, V2: 60}), known, what
    if event in ("death", "wake"):
        canary = state.online_deployment(V2)
        goes_on = state.record.underway is not None and canary is not None
        number = int(known.attempt.rpartition("/")[2]) + 1
        attempt = f"run/{number}" if event == "wake" else f"next{number}/{number}"
        fresh = facts(
            attempt=attempt,
            now=known.now,
            started=known.now,
            owned=event == "wake" and goes_on,
            ended=frozenset({f"{known.attempt.partition('/')[0]}/", known.attempt})
            if event == "death"
            else known.ended,
            began_with=state.serving,
        )
        if goes_on and canary is not None:
            what = wanted_to_go_on(canary, RequestedBy.PERSON)
        return state, fresh, what
    return state, known, what


@settings(max_examples=60, deadline=None)
@given(folders, st.data())
def test_it_converges_and_stable_is_always_one_write_away(spec: RolloutSpec, data: st.DataObject) -> None:
    state, known, what = rolled_out("1"), facts(began_with={V1: 100}), wanted("2", is_progressive=True)
    disturbances = data.draw(st.integers(0, 6))
    last: Move | None = None
    for _ in range(MOST):
        move = last = decide(spec, what, state, known)
        assert not is_refused_by_azure(move, state), (move, state)
        assert plan(spec, what, state, known).end is not None
        if state.serving != {V2: 100} or state.record.underway is not None:
            assert_one_write_to_stable(state, known)
        if move.is_end:
            break
        if move.kind is Kind.LOOK:
            underway = state.record.underway
            assert underway is not None
            judged = verdict(data.draw(verdicts))
            known = known.model_copy(update={"look": Look(number=underway.number, at=known.now, judgement=judged)})
        elif move.kind in WAITS:
            assert move.until is not None
            assert move.until > known.now
            hours = timedelta(hours=6) if move.kind is not Kind.BAKE else timedelta()
            known = known.model_copy(update={"now": move.until + hours})
        else:
            state, known = after(spec, what, state, known, move)
        if disturbances and data.draw(st.booleans()):
            disturbances -= 1
            state, known, what = disturb(data.draw(events), state, known, what)
    else:
        raise AssertionError(f"it does not converge: {last}")
    assert last is not None
    if last.outcome is Outcome.DONE and "under way" not in last.why:
        assert set(state.serving) <= {V1, V2, *state.record.model_dump().get("written_traffic", {})}


def assert_one_write_to_stable(state: EndpointState, known: Facts) -> None:
    """The abort of the run, or of a person, needs one write from here."""
    underway = state.record.underway
    if underway is None:
        return
    move = decide_abort(state, Failure(attempt=f"{underway.run}/99", at=known.at))
    assert move.kind in (Kind.RESTORE, Kind.WAIT), (move, state)
    if move.kind is Kind.RESTORE:
        assert move.traffic == state.record.stable_traffic == {V1: 100}
        assert V2 not in (move.mirror or {})


progressions = st.builds(
    lambda steps, ignored: Progression(
        steps=steps,
        judge=Judge.model_validate({"predictions": {"requests": "requests.jsonl", "ignore": ignored}}),
    ),
    steps,
    st.lists(st.text("$.abc*", min_size=48, max_size=48), max_size=4),
)


@given(progressions)
def test_the_progression_comes_back_from_the_tags_as_it_was_written(progression: Progression) -> None:
    record = EndpointRecord().model_copy(update={"progression": progression})

    assert EndpointRecord.of(record.tags()).progression == progression
    assert all(len(value) <= 256 for value in record.tags().values())


@settings(max_examples=40, deadline=None)
@given(folders, st.integers(0, 3600))
def test_the_shortest_deadline_that_is_accepted_is_the_shortest_that_a_good_rollout_meets(
    spec: RolloutSpec, lag_seconds: int
) -> None:
    asked = spec.rollout
    steps = tuple(one.model_copy(update={"gate": False}) for one in asked.steps)
    judge = asked.judge.model_copy(update={"lag_seconds": lag_seconds})

    def within(deadline_seconds: int) -> Told:
        return go(progressive(steps=steps, judge=judge, deadline_seconds=deadline_seconds), rolled_out("1"))

    def is_accepted(deadline_seconds: int) -> bool:
        found = Progression(steps=steps, judge=judge, deadline_seconds=deadline_seconds)
        return "deadline_seconds" not in dict(check_progression(found, "managed"))

    seconds = int((within(100_000).facts.now - NOW).total_seconds())

    assert (is_accepted(seconds), is_accepted(seconds + 1)) == (False, True)
    assert within(seconds + 1).endpoint.serving == {V2: 100}
    if seconds:
        assert within(seconds).last.outcome is Outcome.LATE
