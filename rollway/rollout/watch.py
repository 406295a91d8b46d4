"""Watching: what is due at an endpoint, and whether a run must be started for it."""

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime

from rollway.errors import WatchIncomplete
from rollway.rollout import traffic
from rollway.rollout.decide import decide
from rollway.rollout.entries import Command, Order, age
from rollway.rollout.facts import Facts
from rollway.rollout.follow import ModelSource, Skipped, followed_model, live_models
from rollway.rollout.moves import Kind, Outcome
from rollway.rollout.progress import describe, is_lost
from rollway.rollout.record import is_same_run
from rollway.rollout.removal import replaced_stays_until
from rollway.rollout.request import Answer, Models, Request, answer
from rollway.rollout.restraint import distance, restraint
from rollway.rollout.state import EndpointState, ResolvedAsset
from rollway.rollout.steering import promotable
from rollway.rollout.wanted import RequestedBy
from rollway.rollout.work import is_abandoned
from rollway.settings import Workspace
from rollway.spec import Frozen, RolloutSpec

ATTEMPT = "watcher/0"  # of no flow run: the watcher itself writes nothing to Azure
ORDER_GRACE = timedelta(minutes=5)  # in which whoever gave an order carries it out
DAY = timedelta(days=1)
MOST_CHARACTERS = 1000  # of an error
_TIDIES = (Kind.SETTLE, Kind.DELETE_AUTOSCALE, Kind.DELETE)
_WAITS = (Kind.WAIT, Kind.WAIT_UNTIL_READY)


class Verdict(StrEnum):
    """Decision about one rollout folder."""

    UP_TO_DATE = "up_to_date"
    HELD_BACK = "held_back"  # a pause, a hold, a freeze window, a rejection or failures
    NOTHING_ELIGIBLE = "nothing_eligible"
    RUNNING = "running"  # a run of this endpoint has not ended
    START = "start"


class Finding(Frozen):
    """Finding about one rollout.

    Attributes:
        model: Name of the model that the folder follows; empty if it follows none.
        version: The version that the folder decides.
        live_version: The one with the most traffic.
        order: The order to promote that a run must carry out.
        last_attempt: The attempt whose end the record has.
        run: The flow run that was started, or that has not ended.
        works_on_it: The flow run that works on its progressive rollout, as far as the record tells.
    """

    rollout: str
    endpoint: str
    workspace: Workspace
    model: str = ""
    version: str | None = None
    live_version: str | None = None
    verdict: Verdict
    reason: str
    skipped: tuple[Skipped, ...] = ()
    order: Command | None = None
    last_attempt: str | None = None
    run: str | None = None
    works_on_it: str | None = None


class Look(Frozen):
    """Result of looking at one rollout: a finding, or an error.

    `is_unreadable` is True if the whole workspace could not be read.
    """

    rollout: str
    finding: Finding | None = None
    error: str | None = None
    is_unreadable: bool = False


class WatchedFolders(Frozen):
    """All rollout folders.

    Attributes:
        by_block: The folders of each workspace, by its Prefect block; None for the environment.
        lost: The looks at folders without a Prefect deployment.
    """

    by_block: tuple[tuple[str | None, tuple[str, ...]], ...]
    lost: tuple[Look, ...]


class EndedRun(Frozen):
    """A flow run that has ended; one that crashed has failed, too, because its worker or machine was lost."""

    id: str
    at: AwareDatetime
    has_failed: bool
    has_crashed: bool = False


def find(spec: RolloutSpec, models: Models, endpoint: EndpointState, workspace: Workspace, now: datetime) -> Finding:
    """Return what is due at an endpoint.

    With its online deployments, that is what `decide` says to a run that would start now. Without them, as in a list
    of endpoints, the record tells; a START must then be confirmed with them.

    Args:
        models: The versions of the model that the folder follows; empty if it follows none.
    """
    request = Request(folder=spec.name, requested_by=RequestedBy.WATCHER)
    answered = answer(spec, request, models, assumed_environment(spec, endpoint), endpoint, now)
    if followed_model(spec) is None:
        wanted = answered.wanted
        because = wanted.stays_because or "the folder follows no model"
        answered = answered.model_copy(update={"wanted": wanted.model_copy(update={"stays_because": because})})
    order = forgotten_promotion(endpoint, now)
    verdict, reason = (
        (Verdict.START, f"nobody carries out: {order.sentence}") if order else _verdict(spec, answered, endpoint, now)
    )
    live, choice = next(iter(live_models(endpoint)), None), answered.choice
    is_of_source = live is not None and models.source is not None and live.source.is_same(models.source)
    return Finding(
        rollout=spec.name,
        endpoint=endpoint.name,
        workspace=workspace,
        model=str(models.source or ""),
        version=choice.version.version if choice and choice.version else None,
        live_version=(live.version if is_of_source else str(live)) if live else None,
        verdict=verdict,
        reason=reason,
        skipped=choice.skipped if choice else (),
        order=order,
        last_attempt=endpoint.record.last.attempt if endpoint.record.last else None,
        works_on_it=endpoint.record.underway.run if endpoint.record.underway else None,
    )


def must_look_behind(spec: RolloutSpec, endpoint: EndpointState, now: datetime, *, is_turn: bool) -> bool:
    """Return True if the online deployments of a listed endpoint must be read.

    That is so if the record does not know what serves, if somebody else may have to carry out `promote`, if what was
    replaced became due within the last day, and once a day.

    Args:
        is_turn: Whether this is the look of the day in which the endpoint has its turn.
    """
    if endpoint.is_complete or not endpoint.exists or endpoint.record.underway is not None:
        return False
    record = endpoint.record
    live = record.live.online_deployment.lower() if record.live else None
    if any(name != live for name in traffic.served_by(endpoint.stable_traffic)):
        return True
    if record.command is not None and record.command.order is Order.PROMOTE and record.lease is None:
        return True
    if record.previous is not None:
        due = replaced_stays_until(spec.rollout, record.promoted_at)
        if due <= now < due + DAY:
            return True
    return is_turn


def turns(names: Iterable[str], now: datetime, interval_seconds: int) -> frozenset[str]:
    """Return the names, in lower case, that have their turn in this look: each has one look of the day.

    A look gets an equal part of them, in alphabetical order, so that none makes many requests. A new endpoint moves the
    turns of others by one place: one of them may have its turn twice, or only on the next day.

    Args:
        names: All endpoints of a workspace.
        interval_seconds: Time between two looks.
    """
    looks = max(1, int(DAY.total_seconds()) // interval_seconds)
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    look = min(int((now - midnight).total_seconds()) // interval_seconds, looks - 1)
    ordered = sorted({name.lower() for name in names})
    return frozenset(name for place, name in enumerate(ordered) if place * looks // len(ordered) == look)


def assumed_environment(spec: RolloutSpec, endpoint: EndpointState) -> ResolvedAsset | None:
    """Return the environment of what serves: the watcher does not find out whether the folder's has changed."""
    environment = spec.online_deployment.environment
    serving = traffic.served_by(endpoint.stable_traffic)
    heaviest = endpoint.online_deployment(serving[0]) if serving else None
    if environment is None or heaviest is None or heaviest.environment is None:
        return None
    name = environment.name or environment.reference or heaviest.environment
    return ResolvedAsset(id=heaviest.environment, name=name, version=None)


def facts_of_look(endpoint: EndpointState, now: datetime) -> Facts:
    """Return what a run would know that started now: the holder of a lease that is much too old has ended."""
    lease = endpoint.record.lease
    ended = frozenset([lease.holder]) if lease and is_abandoned(lease, now) else frozenset()
    return Facts(attempt=ATTEMPT, started=now, now=now, ended=ended)


def forgotten_promotion(endpoint: EndpointState, now: datetime) -> Command | None:
    """Return the order to promote that somebody gave a while ago, if nobody carries it out.

    Only a run of orders does that. An abort is carried out by every run of automation.
    """
    record = endpoint.record
    command = record.command
    if command is None or command.order is not Order.PROMOTE or record.lease is not None or record.underway is not None:
        return None
    since = age(command.at, now)
    is_due = since is None or since >= ORDER_GRACE
    return command if is_due and endpoint.is_complete and promotable(endpoint) is not None else None


def unrecorded_failures(ended: Sequence[EndedRun], last_attempt: str | None, now: datetime) -> str:
    """Return why the next run must wait: the last ones failed before they could write that down; empty if it need not.

    Failures in the record hold automation back by themselves. After a single crash another worker goes on at once.

    Args:
        ended: The last runs of the folder, the newest first.
        last_attempt: The attempt whose end the record has.
    """
    failed = list(itertools.takewhile(lambda run: run.has_failed, ended))
    if len(failed) == 1 and failed[0].has_crashed:
        return ""
    if not failed or (last_attempt is not None and is_same_run(last_attempt, failed[0].id)):
        return ""
    again = failed[0].at + distance(len(failed))
    times = "the last run failed" if len(failed) == 1 else f"the last {len(failed)} runs failed"
    return (
        f"{times} before anything could be written down; the next try is due at {again:%H:%M:%S %Z}"
        if now < again
        else ""
    )


def after_crash(look: Look, ended: Sequence[EndedRun]) -> Look:
    """Return the look with the verdict START if nothing else is due and the last run of the folder crashed.

    Args:
        look: A look at a folder.
        ended: The last runs of the folder, the newest first.
    """
    found = look.finding
    if found is None or found.verdict not in (Verdict.UP_TO_DATE, Verdict.NOTHING_ELIGIBLE):
        return look
    if not ended or not ended[0].has_crashed:
        return look
    reason = f"{found.reason}; but its last run {ended[0].id} crashed, and nobody has gone on with it"
    return look.model_copy(update={"finding": found.model_copy(update={"verdict": Verdict.START, "reason": reason})})


def broken(rollout: str, error: Exception, *, is_unreadable: bool = False) -> Look:
    """Return the look at a rollout that could not be watched; the text has no request id, to be the same each time."""
    lines = [line.strip() for line in (str(error) or type(error).__name__).splitlines()]
    kept = [line for line in lines if line and not line.startswith("Azure request id:")]
    return Look(rollout=rollout, error="; ".join(kept)[:MOST_CHARACTERS], is_unreadable=is_unreadable)


def require_read(looks: Iterable[Look]) -> None:
    """Raise WatchIncomplete if a workspace could not be read at all; a broken folder is no reason."""
    unread = [one for one in looks if one.is_unreadable]
    if unread:
        reasons = dict.fromkeys(one.error or "" for one in unread)
        raise WatchIncomplete(
            f"{len(unread)} rollouts could not be watched: {', '.join(one.rollout for one in unread)}",
            where=f"rollouts {', '.join(one.rollout for one in unread)}",
            why="their workspace cannot be read; other workspaces were watched",
            hint="do what the reason says; the next look of the watcher tries again",
            details="\n".join(reasons),
        )


def _verdict(spec: RolloutSpec, answered: Answer, endpoint: EndpointState, now: datetime) -> tuple[Verdict, str]:
    lease = endpoint.record.lease
    if lease is not None and not is_abandoned(lease, now):
        return Verdict.RUNNING, f"a rollout holds it: {lease.holder}, since {lease.renewed_at}"
    if (underway := endpoint.record.underway) and not _left_behind(endpoint):
        how = describe(underway, endpoint.record.progression)
        if is_lost(underway, now):
            return Verdict.START, f"its rollout has lost its run: {how}"
        return Verdict.RUNNING, f"a rollout is under way: {how}"
    is_live = _is_live(followed_model(spec), answered, endpoint)
    new = answered.choice.why if answered.choice and not answered.wanted.stays_because and not is_live else ""
    if not endpoint.is_complete:
        due = _left_behind(endpoint) or new
        return (Verdict.START, due) if due else _at_rest(answered, is_live)
    move = decide(spec, answered.wanted, endpoint, facts_of_look(endpoint, now))
    if move.is_end:
        return _at_rest(answered, is_live) if move.outcome is Outcome.DONE else (Verdict.HELD_BACK, move.why)
    if move.kind in _WAITS:
        return Verdict.RUNNING, f"{move}: {move.why}"
    if move.kind in _TIDIES and (held := restraint(spec, None, endpoint.record, now)):
        return Verdict.HELD_BACK, f"{move} waits: {held}"
    return Verdict.START, _left_behind(endpoint) or new or f"{move}: {move.why}"


def _left_behind(endpoint: EndpointState) -> str:
    """Return what an earlier rollout left behind, as far as the record tells; empty if nothing."""
    record = endpoint.record
    if record.lease is not None:
        return f"{record.lease.holder} claimed it at {record.lease.renewed_at} and no longer works on it"
    if record.command is not None and record.command.order is Order.ABORT and endpoint.is_rolling_out:
        return f"nobody carries out: {record.command.sentence}"
    return "a rollout moved traffic and ended before the smoke test" if endpoint.is_unproven else ""


def _is_live(source: ModelSource | None, answered: Answer, endpoint: EndpointState) -> bool:
    """Return True if the version that the folder decides is behind the endpoint, with a part of stable's traffic."""
    version = answered.choice.version if answered.choice else None
    if version is None or source is None:
        return False
    # The record has no registry.
    wanted = source if endpoint.is_complete else ModelSource(name=source.name)
    return any(
        one.source.is_same(wanted) and one.version.lower() == version.version.lower() for one in live_models(endpoint)
    )


def _at_rest(answered: Answer, is_live: bool) -> tuple[Verdict, str]:
    """Return the verdict if no run must be started."""
    choice, wanted = answered.choice, answered.wanted
    if choice is None:
        return Verdict.UP_TO_DATE, wanted.stays_because
    if choice.version is None:
        return Verdict.NOTHING_ELIGIBLE, choice.why
    version = choice.version.version
    if wanted.stays_because and not is_live:
        return Verdict.HELD_BACK, f"{version} waits: {wanted.stays_because}"
    is_said = choice.why.startswith(f"{version} is live")
    return Verdict.UP_TO_DATE, choice.why if is_said else f"{version} is live, the {choice.why}"
