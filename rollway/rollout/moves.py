"""Moves: the single things that a rollout does, as values."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import AwareDatetime

from rollway.errors import (
    CanaryFailed,
    ConfigurationError,
    CouldNotMeasure,
    DeadlineExceeded,
    ForeignChange,
    NotFound,
    RollwayError,
    ToldToAbort,
)
from rollway.rollout.entries import Command, Order
from rollway.rollout.record import EndpointRecord, OnlineDeploymentRecord
from rollway.spec import Frozen


class Kind(StrEnum):
    """Kinds of moves."""

    WAIT = "wait for"
    CREATE_ENDPOINT = "create endpoint"
    CHANGE_ENDPOINT = "change endpoint"
    DELETE_ENDPOINT = "delete endpoint"
    CREATE = "create online deployment"
    CHANGE = "change in place"
    WAIT_UNTIL_READY = "wait until ready"
    SMOKE_TEST = "smoke-test"
    COPY_AUTOSCALE = "copy autoscale rules"
    MOVE_TRAFFIC = "move traffic"
    TEST_LIVE = "smoke-test live traffic"
    TEST_ABANDONED = "smoke-test abandoned traffic"
    PROMOTE = "promote"
    RESTORE = "restore traffic"
    RECORD = "record"
    COMPARE = "compare predictions"
    LOOK = "look at evidence"
    BAKE = "bake"
    GATE = "wait for confirmation"
    HOLD = "hold"
    SETTLE = "let requests end"
    DELETE_AUTOSCALE = "delete autoscale rules"
    DELETE = "delete online deployment"
    END = "end"


WRITES = frozenset(
    {
        Kind.CREATE_ENDPOINT,
        Kind.CHANGE_ENDPOINT,
        Kind.DELETE_ENDPOINT,
        Kind.CREATE,
        Kind.CHANGE,
        Kind.COPY_AUTOSCALE,
        Kind.MOVE_TRAFFIC,
        Kind.PROMOTE,
        Kind.RESTORE,
        Kind.RECORD,
        Kind.DELETE_AUTOSCALE,
        Kind.DELETE,
    }
)


# A run that waits long for one of these has no process.
WAITS = frozenset({Kind.WAIT_UNTIL_READY, Kind.BAKE, Kind.GATE, Kind.HOLD})


class Outcome(StrEnum):
    """Ends of a run that has nothing more to do."""

    DONE = "done"  # Azure is as wanted
    HELD = "held"  # a person must say how it goes on
    SUPERSEDED = "superseded"  # a newer version serves, or another rollout was faster
    FOREIGN = "foreign change"  # somebody else changed what the rollout works on
    GONE = "gone"  # what the rollout needs does not exist
    ABORTED = "aborted"  # a person said so
    WORSE = "worse"  # the evidence says that the canary is worse than stable
    UNPROVEN = "unproven"  # there is no verdict, and rollout.yml says abort
    LATE = "late"  # the deadline of the whole rollout is over
    BLOCKED = "blocked"  # something that Rollway must not touch is in the way


RESUME = "nothing, if that was meant; `rollway resume` lets automation roll out again"
REFUSALS: Mapping[Outcome, tuple[type[RollwayError], str, str]] = {
    Outcome.FOREIGN: (
        ForeignChange,
        "somebody else changed {target!r} during the rollout",
        "find out who changed it; then run the rollout again, it starts from what is there now",
    ),
    Outcome.GONE: (NotFound, "{target!r} cannot take over", "run it again: it then starts from what is there now"),
    Outcome.BLOCKED: (
        ConfigurationError,
        "{target!r} is in the way of the rollout",
        "delete it yourself, or set `adopt: true` in rollout.yml so that Rollway may",
    ),
    Outcome.ABORTED: (ToldToAbort, "the rollout was told to abort", RESUME),
    Outcome.WORSE: (
        CanaryFailed,
        "{target!r} is worse than stable",
        "compare both in the report, change the model or the limits in rollout.yml, then roll out again",
    ),
    Outcome.UNPROVEN: (
        CouldNotMeasure,
        "there is no verdict about {target!r}",
        "let probes top up the requests (judge.source: both), demand fewer of them, or bake longer",
    ),
    Outcome.LATE: (
        DeadlineExceeded,
        "the rollout of {target!r} did not end in time",
        "raise deadline_seconds in rollout.yml, or answer its gates earlier; then roll out again",
    ),
}


class Change(Frozen):
    """A field that differs, with its values as text."""

    field: str
    today: str
    wanted: str


class Move(Frozen):
    """One thing that a rollout does, its target, its reason, and the fields that decide it.

    Attributes:
        target: Name of the endpoint or online deployment.
        traffic: The new traffic map, if it changes.
        mirror: The new mirror map, if it changes: percent of copied requests by online deployment.
        record: The endpoint's record after the move, if it changes.
        made: The record of the online deployment after the move, if it changes.
        instances: The instance count of the online deployment that is created or changed.
        settings: Names of the autoscale settings that are copied or deleted.
        seconds: How long to wait, for a move that waits for a time; how long Azure needed for the last online
            deployment of this endpoint, for one that waits until it is ready (0 if nobody knows).
        until: The time until which a progressive rollout waits, or until which nobody needs to look.
        outcome: The outcome of the run, if the move is its end.
    """

    kind: Kind
    target: str
    why: str
    changes: tuple[Change, ...] = ()
    traffic: dict[str, int] | None = None
    mirror: dict[str, int] | None = None
    record: EndpointRecord | None = None
    made: OnlineDeploymentRecord | None = None
    instances: int | None = None
    settings: tuple[str, ...] = ()
    seconds: float = 0.0
    until: AwareDatetime | None = None
    outcome: Outcome | None = None

    @property
    def is_write(self) -> bool:
        """True if the move writes to Azure."""
        return self.kind in WRITES

    @property
    def deletes_online_deployment(self) -> bool:
        """True if the move deletes an online deployment."""
        return self.kind is Kind.DELETE

    @property
    def is_good_end(self) -> bool:
        """True if it ends the run, and the rollout has not failed."""
        return self.is_end and self.outcome not in REFUSALS

    @property
    def is_end(self) -> bool:
        """True if nothing is due any more."""
        return self.kind is Kind.END

    def __str__(self) -> str:
        return f"{self.kind.value} {self.target}"


def end(outcome: Outcome, target: str, why: str) -> Move:
    """Return the move that ends a run."""
    return Move(kind=Kind.END, target=target, why=why, outcome=outcome)


def wait(target: str, why: str) -> Move:
    """Return the move that waits for another operation, or another rollout."""
    return Move(kind=Kind.WAIT, target=target, why=why)


def require_good_end(move: Move) -> None:
    """Raise the error of an end at which the rollout failed; nothing for other moves."""
    if move.outcome in REFUSALS:
        raise refusal(move)


def refusal(move: Move) -> RollwayError:
    """Return the error of an end at which the rollout failed."""
    if move.outcome is None:
        raise AssertionError(f"it is no end: {move}")
    kind, what, hint = REFUSALS[move.outcome]
    return kind(what.format(target=move.target), where=f"in Azure: {move.target}", why=move.why, hint=hint)


def require_no_abort(command: Command | None) -> None:
    """Raise ToldToAbort if a person, or a rollback, told the run to abort."""
    if command is not None and command.order is Order.ABORT:
        raise ToldToAbort("the rollout was told to abort", where="the endpoint", why=command.sentence, hint=RESUME)
