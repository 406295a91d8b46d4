"""Progressive rollouts: steps, looks, verdicts, gates and deadlines, as one decision.

The endpoint's record knows how far a rollout is, so that any run can go on with it. Looks and waits write nothing.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from rollway.rollout import traffic
from rollway.rollout.entries import Order, Underway, at_text, time_text
from rollway.rollout.evidence import Judgement, Minute, Verdict, judge
from rollway.rollout.facts import Facts, Look
from rollway.rollout.moves import Kind, Move, Outcome, end
from rollway.rollout.predictions import Verdict as Agreement
from rollway.rollout.state import EndpointState
from rollway.rollout.switch import (
    autoscale_to_copy,
    promoted_record,
    stable_of,
    traffic_change,
    untested,
)
from rollway.rollout.wanted import Candidate, Wanted
from rollway.spec import Frozen, Progression, RolloutSpec, Step, late_seconds, probes_of

GRACE = timedelta(minutes=15)  # after which a rollout that has not advanced has lost its run
ANSWER, GATE = "rollway promote, abort or hold", "gate"


class Evidence(Frozen):
    """The evidence of a rollout that has begun; `minutes` are those of the whole rollout, or the probes of a step."""

    found: Underway
    progression: Progression
    minutes: tuple[Minute, ...] = ()
    judgement: Judgement


def progress(spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, candidate: Candidate, facts: Facts) -> Move:
    """Return the move that is due in a progressive rollout; the candidate is ready.

    Args:
        wanted: Its `goes_on` names the canary of a rollout that has begun.
        candidate: The canary.
    """
    found, progression = endpoint.record.underway, endpoint.record.progression
    if found is None:
        progression = progression or spec.rollout.progression  # the folder may have other steps since it began
    if progression is None:
        why = "the steps of its rollout cannot be read from the record, so it cannot go on"
        return end(Outcome.GONE, candidate.name, why)
    if found is None:
        if facts.owned:
            return end(Outcome.SUPERSEDED, candidate.name, "somebody else ended its rollout")
        return _begin(spec, wanted, endpoint, candidate, progression, facts)
    if move := _owned_by_another(endpoint, found, progression, facts):
        return move
    return _Course(wanted, endpoint, candidate, progression, found, facts).due()


def until_of(progression: Progression, number: int, at: datetime) -> datetime:
    """Return when a step must have ended or must have asked a person.

    Args:
        number: Number of the step, from 1.
        at: Its start.
    """
    step = progression.steps[number - 1]
    return at + timedelta(seconds=2 * step.bake_seconds + late_seconds(progression))


def evidence_of(found: Underway, progression: Progression, minutes: Sequence[Minute]) -> Evidence:
    """Return the evidence with the verdict about the running step."""
    # Each step has its own probes, and more in an extension.
    looks = 2 * len(progression.steps) if progression.judge.source == "probes" else 1
    judged = judge(minutes, datetime.fromisoformat(found.since[-1]), progression.judge, looks=looks)
    return Evidence(found=found, progression=progression, minutes=tuple(minutes), judgement=judged)


def compared_with(endpoint: EndpointState) -> tuple[str, ...]:
    """Return the online deployments that the canary is compared with, heaviest first."""
    return traffic.served_by(endpoint.record.stable_traffic or endpoint.stable_traffic)


def left_alone(endpoint: EndpointState, found: Underway) -> Move:
    """Return the end of a run that leaves the rollout of another one alone."""
    why = f"a rollout is under way: {describe(found, endpoint.record.progression)}; {ANSWER}"
    return end(Outcome.DONE, found.canary, why)


def is_lost(found: Underway, now: datetime) -> bool:
    """Return True if the run of a rollout should have advanced long ago."""
    return now > datetime.fromisoformat(found.until) + GRACE


def describe(found: Underway, progression: Progression | None) -> str:
    """Return how far a rollout is, and since when, such as `step 2 of 3 (25 %) since …`."""
    return place(found, progression, f" since {at_text(found.since[-1])}" if found.since else "")


def place(found: Underway, progression: Progression | None, since: str = "") -> str:
    """Return how far a rollout is, such as `step 2 of 3 (25 %)`; `since` is put behind the step."""
    held = f", held: {found.held}" if found.held else ""
    if not found.since:
        return f"before the first step{held}"
    steps = progression.steps if progression else ()
    weight = f" ({steps[found.number - 1]})" if found.number <= len(steps) else ""
    return f"step {found.number} of {max(len(steps), found.number)}{weight}{since}{held}"


def _begin(
    spec: RolloutSpec,
    wanted: Wanted,
    endpoint: EndpointState,
    candidate: Candidate,
    progression: Progression,
    facts: Facts,
) -> Move:
    """Return the move that is due before the first step."""
    name = candidate.name
    if move := untested(spec, wanted, endpoint, candidate, facts):
        return move
    comparison, demanded = facts.comparison, progression.judge.predictions
    if demanded is not None and comparison is None:
        return Move(kind=Kind.COMPARE, target=name, why="its predictions must agree with those of stable")
    if demanded is not None and comparison is not None and comparison.verdict is not Agreement.AGREES:
        is_open = comparison.verdict is Agreement.INCONCLUSIVE
        reaction = progression.judge.on_inconclusive if is_open else demanded.on_disagreement
        if reaction == "abort":
            return end(Outcome.UNPROVEN if is_open else Outcome.WORSE, name, comparison.sentence)
        if reaction == "hold":
            until = time_text(facts.now + timedelta(seconds=progression.deadline_seconds))
            held = Underway(run=_run_of(facts), canary=name, until=until, asked=facts.at, held=comparison.sentence)
            record = endpoint.record.told(None).going_on(held, progression)
            return Move(kind=Kind.RECORD, target=endpoint.name, why=comparison.sentence, record=record)
    if move := autoscale_to_copy(endpoint, name, facts):
        return move
    weight = endpoint.weight_of(name)
    first = next(i for i, step in enumerate(progression.steps) if not weight or (step.weight or 0) > weight)
    return _step(endpoint, candidate, progression, (), first, stable_of(endpoint, facts), facts, "it is ready")


def _owned_by_another(endpoint: EndpointState, found: Underway, progression: Progression, facts: Facts) -> Move | None:
    if found.is_of(facts.attempt):
        return None
    has_ended = found.any_attempt in facts.ended
    if not has_ended and not is_lost(found, facts.now):
        return left_alone(endpoint, found)
    why = f"the run {found.run} {'has ended before its rollout' if has_ended else 'is overdue'}; this one goes on"
    until = found.until if found.held else time_text(until_of(progression, found.number, facts.now))
    taken = found.model_copy(update={"run": _run_of(facts), "until": until})
    record = endpoint.record.going_on(taken, progression)
    return Move(kind=Kind.RECORD, target=endpoint.name, why=why, record=record)


class _Course:
    """The decision in a rollout that has begun: its running step, its evidence and its orders."""

    def __init__(
        self,
        wanted: Wanted,
        endpoint: EndpointState,
        candidate: Candidate,
        progression: Progression,
        found: Underway,
        facts: Facts,
    ) -> None:
        self.wanted, self.endpoint, self.candidate = wanted, endpoint, candidate
        self.progression, self.found, self.facts = progression, found, facts
        self.name = candidate.name
        self.start = datetime.fromisoformat(found.since[-1] if found.since else found.asked)
        begun = datetime.fromisoformat(found.begun)
        self.deadline = begun + timedelta(seconds=progression.deadline_seconds)
        command = endpoint.record.command
        self.is_promoted = command is not None and command.order is Order.PROMOTE and command.at > time_text(self.start)

    def due(self) -> Move:
        """Return the move that is due."""
        if self.facts.now >= self.deadline:
            seconds = self.progression.deadline_seconds
            return end(Outcome.LATE, self.name, f"its deadline of {seconds} s is over, at {self._where}")
        if self.is_promoted:
            return self._advance("a person says promote")
        if foreign := self._foreign():
            return self._wait(Kind.HOLD, f"{foreign}; nothing is touched")
        if not self.found.since or self.found.held.startswith(Verdict.FAILED.value):
            return self._hold(self.found.held)
        if self.progression.judge.source == "probes" and self._is_held:  # judged more often, more false alarms
            return self._still_held()
        look_at = self._look_at()
        if self.facts.now >= look_at:
            return Move(kind=Kind.LOOK, target=self.name, why=f"evidence of {self._where}")
        return self._follow(look_at)

    def _follow(self, look_at: datetime) -> Move:
        """Return the move that follows the newest look."""
        look = self._look
        verdict = look.judgement.verdict if look else None
        sentence = look.judgement.sentence if look else ""
        if verdict is Verdict.FAILED:
            if self.progression.judge.on_failure == "abort":
                return end(Outcome.WORSE, self.name, sentence)
            return self._hold(sentence)
        if self.facts.now < self._baked or look is None:
            why = f"{self._where}: evidence is gathered until {self._baked:%H:%M:%S %Z}"
            return self._bake(min(look_at, self._baked), why)
        if verdict is Verdict.SUCCESSFUL:
            return self._succeeded(sentence)
        if self.facts.now < self._extended:
            return self._bake(min(look_at, self._extended), f"{self._where}: {sentence}; the bake is extended")
        reaction = self.progression.judge.on_inconclusive
        if reaction == "promote":
            return self._succeeded(sentence)
        if self._is_held:  # a later look without a verdict decides nothing
            return self._still_held()
        if reaction == "abort":
            return self._told_to_hold() or end(Outcome.UNPROVEN, self.name, sentence)
        return self._hold(sentence)

    def _told_to_hold(self) -> Move | None:
        command = self.endpoint.record.command
        return self._hold(command.sentence) if command is not None and self.endpoint.record.is_held else None

    def _succeeded(self, sentence: str) -> Move:
        if hold := self._told_to_hold():
            return hold
        if self._step.gate and self.found.number not in self.facts.confirmed:
            return self._hold(f"{GATE} after {self._where}: {sentence}; confirm with rollway promote", Kind.GATE)
        return self._advance(sentence)

    def _advance(self, why: str) -> Move:
        """Return the write of the next step, or the promotion after the last one.

        If somebody else changed the traffic in the last step, that begins again: only its own traffic is promoted.
        """
        canary = self.candidate.existing
        if canary is None or not canary.is_succeeded:
            state = canary.provisioning_state if canary else "gone"
            return self._hold(f"the canary is {state} and gets no more traffic: repair it, or rollway abort")
        if not self.found.since and (move := autoscale_to_copy(self.endpoint, self.name, self.facts)):
            return move
        steps, since = self.progression.steps, self.found.since
        if self._foreign() and len(since) == len(steps):
            since = since[:-1]
        if (done := len(since)) < len(steps):
            stable = self.endpoint.stable_traffic
            return _step(self.endpoint, self.candidate, self.progression, since, done, stable, self.facts, why)
        record = promoted_record(self.wanted, self.endpoint, self.facts)
        return Move(kind=Kind.PROMOTE, target=self.name, why=why, record=record)

    def _hold(self, why: str, kind: Kind = Kind.HOLD) -> Move:
        """Write once that a person is asked, and wait; a failure is written later, too."""
        failed = Verdict.FAILED.value
        if not self.found.held or (why.startswith(failed) and not self.found.held.startswith(failed)):
            changes = {"held": why, "asked": self.facts.at, "until": time_text(self.deadline)}
            return self._record(why, **changes)
        return self._wait(kind, why)

    def _still_held(self) -> Move:
        is_gate = self.found.held.startswith(GATE)
        if is_gate and self.found.number in self.facts.confirmed:
            return self._advance("a person confirms")
        return self._hold(self.found.held, Kind.GATE if is_gate else Kind.HOLD)

    def _bake(self, until: datetime, why: str) -> Move:
        if self.found.held:
            until_text = time_text(until_of(self.progression, self.found.number, self.facts.now))
            return self._record("nobody holds it any more", held="", asked="", until=until_text)
        return Move(kind=Kind.BAKE, target=self.name, why=why, until=min(until, self.deadline))

    def _wait(self, kind: Kind, why: str) -> Move:
        seconds = min(self.facts.look_seconds, self.progression.deadline_seconds)
        until = min(self.facts.now + timedelta(seconds=seconds), self.deadline)
        return Move(kind=kind, target=self.name, why=why, until=until)

    def _record(self, why: str, **changes: str) -> Move:
        record = self.endpoint.record.going_on(self.found.model_copy(update=changes), self.progression)
        return Move(kind=Kind.RECORD, target=self.endpoint.name, why=why, record=record)

    def _foreign(self) -> str:
        written, today = self.endpoint.record.written_traffic, self.endpoint.traffic
        if not self.found.since or written is None:
            return ""
        if not traffic.is_same(written, today):
            return f"somebody changed the traffic: it was {traffic.describe(written)} and is {traffic.describe(today)}"
        mirrored = {name.lower(): weight for name, weight in self.endpoint.mirror_traffic.items()}
        mirror, copied = self._step.mirror, mirrored.get(self.name.lower(), 0)
        if mirror is not None and copied != mirror:
            return f"somebody changed the mirrored traffic: it was {mirror} % and is {copied} %"
        return ""

    @property
    def _is_held(self) -> bool:
        """True if a person must decide, and has not: a hold of a person ends with `resume`."""
        is_by_a_person = self.found.held.startswith(Order.HOLD.value)
        return self.endpoint.record.is_held if is_by_a_person else bool(self.found.held)

    @property
    def _step(self) -> Step:
        return self.progression.steps[max(self.found.number, 1) - 1]

    @property
    def _where(self) -> str:
        if not self.found.since:
            return "the time before its first step"
        return f"step {self.found.number} of {len(self.progression.steps)} ({self._step})"

    @property
    def _baked(self) -> datetime:
        return self.start + timedelta(seconds=self._step.bake_seconds + late_seconds(self.progression))

    @property
    def _extended(self) -> datetime:
        return self._baked + timedelta(seconds=self._step.bake_seconds)

    @property
    def _look(self) -> Look | None:
        look = self.facts.look
        return look if look is not None and look.number == self.found.number else None

    def _look_at(self) -> datetime:
        """Return when to look next: often, for a failure, and at the end of the bake and of its extension.

        Probes are sent by the look itself, and so near the end that each of their requests counts once.
        """
        judge, look = self.progression.judge, self._look
        probing = timedelta()
        if judge.source == "probes":
            probing = timedelta(seconds=probes_of(judge) / judge.probes.requests_per_second)
        marks = [mark - probing for mark in (self._baked, self._extended)]
        if judge.source != "probes" and math.isfinite(self.facts.look_seconds):
            first = self.start + timedelta(seconds=late_seconds(self.progression))
            marks.append(first if look is None else look.at + timedelta(seconds=self.facts.look_seconds))
        return min([mark for mark in marks if look is None or look.at < mark], default=self.deadline)


def _step(
    endpoint: EndpointState,
    candidate: Candidate,
    progression: Progression,
    since: tuple[str, ...],
    index: int,
    stable: dict[str, int],
    facts: Facts,
    why: str,
) -> Move:
    """Return the one write that begins a step.

    Args:
        since: The starts of the steps before it.
        index: Its place among the steps, from 0.
    """
    step, name = progression.steps[index], candidate.name
    after = traffic.shift(stable, name, step.weight) if step.weight else stable
    others = {one: weight for one, weight in endpoint.mirror_traffic.items() if one.lower() != name.lower()}
    begun = (*since, *(facts.at for _ in range(index + 1 - len(since))))
    underway = Underway(
        run=_run_of(facts),
        canary=name,
        until=time_text(until_of(progression, index + 1, facts.now)),
        since=begun,
    )
    record = endpoint.record.provisioned(facts.provisioning_seconds)
    # An order is carried out by the step that it asked for; one that was given before the rollout means nothing to it.
    record = record.obeyed() if since else record.told(None)
    return Move(
        kind=Kind.MOVE_TRAFFIC,
        target=name,
        why=f"{why}; step {index + 1} of {len(progression.steps)} is {step}",
        changes=traffic_change(endpoint.traffic, after),
        traffic=after,
        mirror={**others, name: step.mirror} if step.mirror else others,
        record=record.moved(facts.attempt, after, stable).going_on(underway, progression),
    )


def _run_of(facts: Facts) -> str:
    return facts.attempt.partition("/")[0]
