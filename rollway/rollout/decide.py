"""The decision: from every state of an endpoint, the one move that is due, and why.

`decide` is pure and total. The plan is the sequence of its moves (`rollway.rollout.plan`), the flow is the loop around
it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from rollway.rollout import traffic
from rollway.rollout.autoscale import AutoscaleSetting
from rollway.rollout.capacity import instances_of
from rollway.rollout.changes import content_changes, differences, endpoint_changes, in_place_changes
from rollway.rollout.entries import Command, Lease, Order, Served
from rollway.rollout.moves import Change, Kind, Move, Outcome, end
from rollway.rollout.record import EndpointRecord, is_earlier_attempt, is_same_run
from rollway.rollout.removal import removals
from rollway.rollout.state import EndpointState, OnlineDeploymentState, model_of
from rollway.rollout.wanted import Candidate, Wanted, candidate_of, has_served
from rollway.spec import Frozen, RolloutSpec

LEASE_SECONDS, FULL_WEIGHT = 300, 100


class Facts(Frozen):
    """Knowledge of a run besides what Azure says now. None of it outlives the run, and the next run needs none of it.

    Attributes:
        attempt: This attempt, `<flow run>/<attempt>`.
        started: When it started, in UTC.
        now: The time, in UTC.
        lease_seconds: How long a claim of this run is valid, in seconds.
        began_with: The traffic that the run found; None before the first look.
        tested: The online deployments whose pinned smoke test passed, as they were then.
        proven: The traffic under which the live smoke test passed.
        disproved: The traffic under which the live smoke test of an earlier rollout failed.
        changed: Names of the online deployments that this run created or changed.
        ended: Attempts that are known to have ended.
        lease_age_seconds: How long this run has seen the same lease while no operation was running.
        autoscale: The autoscale settings of the endpoint's online deployments.
    """

    attempt: str
    started: datetime = datetime.min.replace(tzinfo=UTC)
    now: datetime = datetime.min.replace(tzinfo=UTC)
    lease_seconds: int = LEASE_SECONDS
    began_with: dict[str, int] | None = None
    tested: tuple[OnlineDeploymentState, ...] = ()
    proven: dict[str, int] | None = None
    disproved: dict[str, int] | None = None
    changed: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    lease_age_seconds: float = 0.0
    autoscale: tuple[AutoscaleSetting, ...] = ()

    @property
    def at(self) -> str:
        """The time as text for a record; to the millisecond, because two claims within a second must differ."""
        return self.now.isoformat(timespec="milliseconds")

    def has_proven(self, today: Mapping[str, int]) -> bool:
        """Return True if the live smoke test passed under this traffic."""
        return self.proven is not None and traffic.is_same(self.proven, today)

    def test_of(self, name: str) -> OnlineDeploymentState | None:
        """Return an online deployment as its pinned smoke test found it, or None."""
        return next((one for one in self.tested if one.name.lower() == name.lower()), None)

    def settings_of(self, name: str) -> tuple[str, ...]:
        """Return the names of the autoscale settings of an online deployment."""
        return tuple(one.name for one in self.autoscale if one.online_deployment.lower() == name.lower())

    def is_over(self, lease: Lease) -> bool:
        """Return True if this run may take over from the holder of a lease."""
        holder = lease.holder
        return (
            holder == self.attempt
            or is_earlier_attempt(holder, self.attempt)
            or holder in self.ended
            or self.lease_age_seconds >= lease.ttl_seconds
        )


def decide(spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, facts: Facts) -> Move:
    """Return the one move that is due.

    Args:
        wanted: What the run brings the endpoint to.
        endpoint: The endpoint as Azure reports it now.
        facts: What the run knows besides.
    """
    lease = endpoint.record.lease
    due = _due(spec, wanted, endpoint, facts)
    if lease is not None and not facts.is_over(lease):
        why = f"another rollout holds it: {lease.holder}, since {lease.renewed_at}"
        return due if due.is_end else _wait(endpoint.name, why)
    if due.outcome in (Outcome.DONE, Outcome.HELD, Outcome.SUPERSEDED) and lease is not None:
        why = f"{lease.holder} claimed the endpoint and has ended"
        due = Move(kind=Kind.RECORD, target=endpoint.name, why=why, record=endpoint.record.released())
    return _when_free(due, endpoint) if due.is_write else due


def _when_free(due: Move, endpoint: EndpointState) -> Move:
    # Azure runs one operation at a time on an endpoint and everything behind it, and refuses other writes meanwhile.
    if endpoint.busy is None:
        return due
    name, state = endpoint.busy
    return _wait(name, f"an operation is running on it, it is {state}")


def _due(spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, facts: Facts) -> Move:
    command = endpoint.record.command
    if _is_told(Order.ABORT, command, wanted, facts):
        return end(Outcome.ABORTED, endpoint.name, command.sentence if command else "")
    if wanted.weight < FULL_WEIGHT and _is_told(Order.PROMOTE, command, wanted, facts):
        wanted = wanted.model_copy(update={"weight": FULL_WEIGHT, "pause_reason": ""})
    if not endpoint.exists:
        return _absent(wanted, endpoint)
    if back := _ordered_back(wanted, endpoint, facts):
        return back
    if not wanted.stays_because and not wanted.goes_back_to:
        if endpoint.is_failed and not endpoint.online_deployments:
            return _broken_endpoint(spec, endpoint)
        if changes := endpoint_changes(spec.endpoint, endpoint):
            why = "it is not as endpoint.yml says"
            return Move(kind=Kind.CHANGE_ENDPOINT, target=endpoint.name, why=why, changes=changes)
    if wanted.stays_because:
        return (
            _abandoned(endpoint, facts)
            or _promotion(wanted, endpoint, facts)
            or _tidy(spec, wanted, endpoint, None, facts)
            or end(Outcome.DONE, endpoint.name, wanted.stays_because)
        )
    candidate = candidate_of(spec, wanted, endpoint)
    after = traffic.shift(_stable(endpoint, facts), candidate.name, wanted.weight)
    is_there = traffic.is_same(endpoint.traffic, after)
    return (
        (None if is_there or wanted.goes_back_to else _abandoned(endpoint, facts))
        or (None if is_there else _overtaken(wanted, endpoint, facts))
        or _provision(spec, wanted, endpoint, candidate, facts)
        or _advance(wanted, endpoint, candidate, after, facts)
        or _promotion(wanted, endpoint, facts)
        or _tidy(spec, wanted, endpoint, candidate.name, facts)
        or end(Outcome.DONE, endpoint.name, "Azure is as the folder describes it")
    )


def _absent(wanted: Wanted, endpoint: EndpointState) -> Move:
    if wanted.stays_because:
        return end(Outcome.DONE, endpoint.name, wanted.stays_because)
    if wanted.goes_back_to:
        return end(Outcome.GONE, endpoint.name, "the endpoint does not exist")
    return Move(kind=Kind.CREATE_ENDPOINT, target=endpoint.name, why="there is no endpoint of that name")


def _broken_endpoint(spec: RolloutSpec, endpoint: EndpointState) -> Move:
    why = "its creation failed, and Azure cannot repair that"
    if endpoint.record.created_by is None and not spec.rollout.adopt:
        return end(Outcome.BLOCKED, endpoint.name, f"{why}; Rollway did not create it and leaves it alone")
    return Move(kind=Kind.DELETE_ENDPOINT, target=endpoint.name, why=why)


def _ordered_back(wanted: Wanted, endpoint: EndpointState, facts: Facts) -> Move | None:
    """A person told a rollout to abort that died before it could: automation carries that out."""
    record = endpoint.record
    command = record.command
    if command is None or command.order is not Order.ABORT or not endpoint.is_moved:
        return None
    if not wanted.requested_by.is_automatic or is_same_run(record.moved_by or "", facts.attempt):
        return None
    back = restoration(endpoint, facts.attempt, command.sentence)
    return back.model_copy(update={"record": (back.record or record).told(None).paused(command.sentence)})


def _abandoned(endpoint: EndpointState, facts: Facts) -> Move | None:
    """Traffic that an earlier rollout moved and never tested: test it, and go back if it fails."""
    if not endpoint.is_unproven or facts.has_proven(endpoint.traffic):
        return None
    if is_same_run(endpoint.record.moved_by or "", facts.attempt):
        return None
    is_disproved = facts.disproved is not None and traffic.is_same(facts.disproved, endpoint.traffic)
    if endpoint.serving and not is_disproved:
        why = "a rollout moved traffic here and ended before the smoke test"
        return Move(kind=Kind.TEST_ABANDONED, target=endpoint.name, why=why)
    why = "the traffic that an earlier rollout moved fails its smoke test" if is_disproved else "nothing serves"
    return restoration(endpoint, facts.attempt, why)


def restoration(endpoint: EndpointState, attempt: str, why: str) -> Move:
    """Return the one write that brings all traffic back to stable."""
    stable = endpoint.stable_traffic
    return Move(
        kind=Kind.RESTORE,
        target=endpoint.name,
        why=why,
        changes=_traffic_change(endpoint.traffic, stable),
        traffic=stable,
        record=endpoint.record.restored(attempt, stable).released(),
    )


def _overtaken(wanted: Wanted, endpoint: EndpointState, facts: Facts) -> Move | None:
    """Somebody else moved traffic since this run began."""
    record, today = endpoint.record, endpoint.traffic
    if facts.began_with is None or traffic.is_same(facts.began_with, today):
        return None
    if record.moved_by is not None and is_same_run(record.moved_by, facts.attempt):
        return None
    what = f"traffic was {traffic.describe(facts.began_with)} and is {traffic.describe(today)}"
    if record.written_traffic is None or not traffic.is_same(record.written_traffic, today):
        return end(Outcome.FOREIGN, endpoint.name, f"{what}; Rollway did not write that")
    if wanted.requested_by.is_automatic:
        return end(Outcome.SUPERSEDED, endpoint.name, f"{record.moved_by} was faster: {what}")
    return None


def _provision(
    spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, candidate: Candidate, facts: Facts
) -> Move | None:
    """Everything until the candidate is ready as the folder describes it."""
    name, existing = candidate.name, candidate.existing
    instances = instances_of(spec, wanted, endpoint, existing, facts.autoscale)
    if existing is None:
        if wanted.goes_back_to:
            return end(Outcome.GONE, name, "it is gone")
        if leftover := _tidy(spec, wanted, endpoint, name, facts, is_only_leftovers=True):
            return leftover  # first, because it takes quota
        reasons = _reasons(spec, wanted, endpoint, candidate, instances)
        why = "no online deployment is what the folder describes"
        made = candidate.record
        return Move(kind=Kind.CREATE, target=name, why=why, changes=reasons, made=made, instances=instances)
    if existing.is_being_deleted:
        return _wait(name, "it is being deleted")
    if existing.is_failed and not has_served(endpoint, name):
        why = f"it is {existing.provisioning_state}, and Azure cannot repair a failed first provisioning"
        if wanted.goes_back_to or not (existing.is_ours or spec.rollout.adopt):
            return end(Outcome.BLOCKED, name, f"{why}; delete it, or roll out a version")
        return Move(kind=Kind.DELETE, target=name, why=why)
    if not existing.is_settled:
        return Move(kind=Kind.WAIT_UNTIL_READY, target=name, why=f"it is {existing.provisioning_state}")
    wants_tags = (
        spec.online_deployment.model_copy(update={"tags": {}}) if wanted.goes_back_to else spec.online_deployment
    )
    changes = in_place_changes(existing, wants_tags, instances)
    if changes or existing.is_failed:
        why = "its last change failed" if existing.is_failed else "these fields can change in place"
        made = existing.record.changed(candidate.record, facts.attempt)
        return Move(kind=Kind.CHANGE, target=name, why=why, changes=changes, made=made, instances=instances)
    if name in facts.changed and facts.test_of(name) is None:
        return Move(kind=Kind.SMOKE_TEST, target=name, why="this run changed it")
    return None


def _advance(
    wanted: Wanted, endpoint: EndpointState, candidate: Candidate, after: dict[str, int], facts: Facts
) -> Move | None:
    """Test the candidate and give it its traffic."""
    name, existing, record = candidate.name, candidate.existing, endpoint.record
    if existing is None or traffic.is_same(endpoint.traffic, after):
        return None
    if _is_told(Order.HOLD, record.command, wanted, facts):
        return end(Outcome.HELD, name, record.command.sentence if record.command else "")
    seen = facts.test_of(name)
    if seen is None:
        return Move(kind=Kind.SMOKE_TEST, target=name, why="it must answer before it gets traffic")
    if seen.content != existing.content:
        changed = [
            field
            for field in ("model", "environment", "code", "settings")
            if getattr(seen, field) != getattr(existing, field)
        ]
        return end(Outcome.FOREIGN, name, f"it was changed since its smoke test: {', '.join(changed) or 'its record'}")
    if copies := _autoscale_to_copy(endpoint, name, facts):
        why = f"its rules follow the traffic: {', '.join(copies)}"
        return Move(kind=Kind.COPY_AUTOSCALE, target=name, why=why, settings=copies)
    stable = _stable(endpoint, facts)
    return Move(
        kind=Kind.MOVE_TRAFFIC,
        target=name,
        why="it is ready and answers",
        changes=_traffic_change(endpoint.traffic, after),
        traffic=after,
        record=record.moved(facts.attempt, after, stable).claimed(_claim(facts)),
    )


def _promotion(wanted: Wanted, endpoint: EndpointState, facts: Facts) -> Move | None:
    """Test the traffic that moved, and write down that it is stable now."""
    lease = endpoint.record.lease
    has_moved = lease is not None and lease.holder == facts.attempt
    if not endpoint.serving or not (endpoint.is_unproven or has_moved):
        return None
    if not facts.has_proven(endpoint.traffic):
        why = "traffic has moved, and must be answered as before"
        return Move(kind=Kind.TEST_LIVE, target=endpoint.name, why=why)
    return Move(
        kind=Kind.PROMOTE,
        target=traffic.served_by(endpoint.traffic)[0],
        why="its live smoke test passed",
        record=_promoted(wanted, endpoint, facts),
    )


def _promoted(wanted: Wanted, endpoint: EndpointState, facts: Facts) -> EndpointRecord:
    record, today = endpoint.record.released(), endpoint.serving
    if not wanted.stays_because:
        is_held = _is_told(Order.HOLD, record.command, wanted, facts)
        record = record.paused(wanted.pause_reason).told(record.command if is_held else None)
    if len(today) > 1:  # a canary: stable keeps the rest, and a person decides
        return record.paused(record.pause_reason or f"canary: {traffic.describe(today)}").tested(today)
    heaviest = endpoint.online_deployment(traffic.served_by(today)[0])
    live = Served(online_deployment=heaviest.name, model=model_of(heaviest) or "") if heaviest else None
    before = endpoint.behind(endpoint.stable_traffic)
    replaced = next((one for one in before if not endpoint.weight_of(one.name)), None)
    if live is not None:
        record = record.promoted(facts.attempt, facts.at, live, today).accepting(live.model)
    if replaced is not None:
        record = record.replacing(Served(online_deployment=replaced.name, model=model_of(replaced) or ""))
    return record


def _tidy(
    spec: RolloutSpec,
    wanted: Wanted,
    endpoint: EndpointState,
    candidate: str | None,
    facts: Facts,
    *,
    is_only_leftovers: bool = False,
) -> Move | None:
    """Delete what an earlier rollout left, and what was replaced long enough ago."""
    if not wanted.tidies:
        return None
    for removal in removals(spec, endpoint, candidate, facts.attempt, facts.now, facts.ended):
        if is_only_leftovers and not removal.is_leftover:
            continue
        if (seconds := removal.in_seconds) > 0:
            why = f"requests may still run there for {seconds:.0f} s"
            return Move(kind=Kind.SETTLE, target=removal.name, why=why, seconds=seconds)
        if settings := facts.settings_of(removal.name):
            why = "the online deployment goes"
            return Move(kind=Kind.DELETE_AUTOSCALE, target=removal.name, why=why, settings=settings)
        return Move(kind=Kind.DELETE, target=removal.name, why=removal.why)
    return None


def _stable(endpoint: EndpointState, facts: Facts) -> dict[str, int]:
    return endpoint.serving if facts.has_proven(endpoint.traffic) else endpoint.stable_traffic


def _autoscale_to_copy(endpoint: EndpointState, name: str, facts: Facts) -> tuple[str, ...]:
    """Return the settings of the heaviest online deployment that serves and has some, if the candidate has none."""
    if facts.settings_of(name):
        return ()
    serving = traffic.served_by(_stable(endpoint, facts))
    return next((found for one in serving if one != name.lower() and (found := facts.settings_of(one))), ())


def _reasons(
    spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, candidate: Candidate, instances: int
) -> tuple[Change, ...]:
    serving = traffic.served_by(endpoint.traffic)
    live = endpoint.online_deployment(serving[0]) if serving else None
    if live is None:
        return (Change(field="online deployment", today="none serves traffic", wanted=candidate.name),)
    return (
        *differences(
            [("online deployment", live.name, candidate.name), ("code", live.record.code, candidate.record.code)]
        ),
        *content_changes(spec.online_deployment, wanted.model, wanted.environment, live),
        *differences([("instance_count", spec.online_deployment.instance_count, instances)]),
    )


def _is_told(order: Order, command: Command | None, wanted: Wanted, facts: Facts) -> bool:
    """Return True if the command holds for this run: a person's run ends those that were given before it."""
    if command is None or command.order is not order or is_same_run(command.by, facts.attempt):
        return False
    is_automatic = wanted.requested_by.is_automatic and order is Order.HOLD
    return is_automatic or command.at > facts.started.isoformat(timespec="milliseconds")


def _claim(facts: Facts) -> Lease:
    return Lease(holder=facts.attempt, ttl_seconds=facts.lease_seconds, renewed_at=facts.at)


def _traffic_change(today: Mapping[str, int], after: Mapping[str, int]) -> tuple[Change, ...]:
    return differences([("traffic", traffic.describe(today), traffic.describe(after))])


def _wait(target: str, why: str) -> Move:
    return Move(kind=Kind.WAIT, target=target, why=why)
