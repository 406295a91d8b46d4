"""The record: all that Rollway remembers, as tags of the endpoint and of its online deployments.

Azure is the only memory of a rollout, and only this module knows the text of a tag.
"""

import functools
from collections.abc import Mapping
from datetime import datetime
from typing import Self

from pydantic import field_validator

from rollway.errors import ConfigurationError
from rollway.rollout import traffic
from rollway.rollout.entries import Command, End, Ended, Failures, Lease, Order, Served, Underway, age
from rollway.rollout.tags import is_ours, on_one_line, parse_count, parse_traffic, split, traffic_text, value_of
from rollway.spec import Frozen, Progression

FORMAT = 1
MOST_TAGS = 37  # of a record, with the longest names that Azure allows
MOST_REJECTED, MOST_REJECTED_CHARACTERS = 5, 1024

VERSION = "rollway:record"  # the format of all other tags
# Of endpoints and online deployments
RUN = "rollway:run"  # the attempt that wrote last; on an endpoint: that moved traffic last
CREATED_BY = "rollway:created-by"
CREATED_AT = "rollway:created-at"
# Of endpoints
LEASE = "rollway:lease"
WRITTEN_TRAFFIC = "rollway:traffic"
STABLE_TRAFFIC = "rollway:proven-traffic"
IS_TESTED = "rollway:tested"
LIVE = "rollway:live"
PREVIOUS = "rollway:previous"
REJECTED = "rollway:rejected"
FAILURES = "rollway:failures"
PROMOTED_AT = "rollway:promoted-at"
LAST = "rollway:last"
PAUSED = "rollway:paused"
COMMAND = "rollway:command"
UNDERWAY = "rollway:rollout"
PROGRESSION = "rollway:progression"
PROVISIONING = "rollway:provisioning"
# Of online deployments
FINGERPRINT = "rollway:fingerprint"
MODEL = "rollway:model"
CODE = "rollway:code"
INSTANCES = "rollway:instances"

FREE, YES = "free", "yes"


class EndpointRecord(Frozen):
    """Rollway's memory of an endpoint. Each method returns the record after one event.

    Attributes:
        lease: Who may write to the endpoint and what is behind it; None if nobody holds it.
        created_by: The attempt that created the endpoint; None if Rollway did not.
        moved_by: The attempt that moved traffic last.
        written_traffic: The traffic that Rollway wrote last, in percent by online deployment.
        stable_traffic: The traffic to return to, as long as the rollout that moved it is not promoted.
        is_tested: True if the written traffic has passed its smoke test.
        live: The online deployment that got all traffic last.
        previous: The online deployment that the last promotion replaced.
        rejected: What failed through its own fault, `<model>:<version>/<digest of the folder>`, oldest first.
        failures: The temporary failures of the last rollouts.
        promoted_at: Time since when the traffic is as it is, in UTC.
        last: The end of the last rollout.
        pause_reason: Why automation leaves the endpoint alone; empty if it is not paused.
        command: The last order of a person that is not carried out yet, or that still holds.
        underway: The progressive rollout that has begun and not ended.
        progression: Its steps, and how they are judged. A changed rollout.yml counts for the next rollout.
        provisioning_seconds: How long Azure needed for the last online deployment that got traffic.
    """

    lease: Lease | None = None
    created_by: str | None = None
    created_at: str | None = None
    moved_by: str | None = None
    written_traffic: dict[str, int] | None = None
    stable_traffic: dict[str, int] | None = None
    is_tested: bool = False
    live: Served | None = None
    previous: Served | None = None
    rejected: tuple[str, ...] = ()
    failures: Failures | None = None
    promoted_at: str | None = None
    last: Ended | None = None
    pause_reason: str = ""
    command: Command | None = None
    underway: Underway | None = None
    progression: Progression | None = None
    provisioning_seconds: int | None = None

    @field_validator("pause_reason")
    @classmethod
    def _on_one_line(cls, reason: str) -> str:
        return on_one_line(reason)

    @field_validator("written_traffic", "stable_traffic")
    @classmethod
    def _as_azure_writes_it(cls, weights: dict[str, int] | None) -> dict[str, int] | None:
        return None if weights is None else traffic.significant(weights)

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> Self:
        """Return the record in the tags of an endpoint; a value that Rollway did not write counts as absent.

        Raises ConfigurationError if a newer version of Rollway wrote it.
        """
        return cls._of(frozenset((name, value) for name, value in tags.items() if is_ours(name)))

    @classmethod
    @functools.lru_cache(maxsize=256)  # a decision asks for the same record many times
    def _of(cls, ours: frozenset[tuple[str, str]]) -> Self:
        tags = dict(ours)
        _check_format(tags)
        return cls(
            lease=Lease.parse(value_of(tags, LEASE)),
            created_by=value_of(tags, CREATED_BY),
            created_at=value_of(tags, CREATED_AT),
            moved_by=value_of(tags, RUN),
            written_traffic=parse_traffic(value_of(tags, WRITTEN_TRAFFIC)),
            stable_traffic=parse_traffic(value_of(tags, STABLE_TRAFFIC)),
            is_tested=value_of(tags, IS_TESTED) == YES,
            live=Served.parse(value_of(tags, LIVE)),
            previous=Served.parse(value_of(tags, PREVIOUS)),
            rejected=tuple(one.strip() for one in (value_of(tags, REJECTED) or "").split(",") if one.strip()),
            failures=Failures.parse(value_of(tags, FAILURES)),
            promoted_at=value_of(tags, PROMOTED_AT),
            last=Ended.parse(value_of(tags, LAST)),
            pause_reason=value_of(tags, PAUSED) or "",
            command=Command.parse(value_of(tags, COMMAND)),
            underway=Underway.parse(value_of(tags, UNDERWAY)),
            progression=Progression.parse(value_of(tags, PROGRESSION)),
            provisioning_seconds=parse_count(value_of(tags, PROVISIONING)),
        )

    def tags(self) -> dict[str, str]:
        """Return the tags that hold the record."""
        return _tags(
            {
                LEASE: str(self.lease or FREE),
                CREATED_BY: self.created_by,
                CREATED_AT: self.created_at,
                RUN: self.moved_by,
                WRITTEN_TRAFFIC: traffic_text(self.written_traffic),
                STABLE_TRAFFIC: traffic_text(self.stable_traffic),
                IS_TESTED: YES if self.is_tested else "",
                LIVE: self.live,
                PREVIOUS: self.previous,
                REJECTED: ",".join(self.rejected),
                FAILURES: self.failures,
                PROMOTED_AT: self.promoted_at,
                LAST: self.last,
                PAUSED: self.pause_reason,
                COMMAND: self.command,
                UNDERWAY: self.underway,
                PROGRESSION: self.progression,
                PROVISIONING: self.provisioning_seconds,
            }
        )

    def created(self, attempt: str, at: str) -> Self:
        """Rollway created the endpoint."""
        return self.model_copy(update={"created_by": attempt, "created_at": at})

    def claimed(self, lease: Lease) -> Self:
        """An attempt took the lease."""
        return self.model_copy(update={"lease": lease})

    def released(self) -> Self:
        """The holder gave the lease back."""
        return self.model_copy(update={"lease": None})

    def provisioned(self, seconds: int | None) -> Self:
        """Azure needed so long for an online deployment; None if nobody has seen it."""
        return self if seconds is None else self.model_copy(update={"provisioning_seconds": seconds})

    def moved(self, attempt: str, written: Mapping[str, int], stable: Mapping[str, int]) -> Self:
        """An attempt moved traffic; `stable` is the traffic to return to if it fails."""
        return self._validated(
            moved_by=attempt,
            written_traffic=dict(written),
            stable_traffic=dict(stable),
            is_tested=False,
            underway=None,
            progression=None,
        )

    def going_on(self, underway: Underway, progression: Progression) -> Self:
        """A progressive rollout began a step, is held before the first one, or another run works on it now."""
        return self.model_copy(update={"underway": underway, "progression": progression})

    def restored(self, attempt: str, stable: Mapping[str, int]) -> Self:
        """Traffic went back to stable; the attempt that had moved it, or an earlier one, is over."""
        return self.moved(attempt, stable, stable)

    def tested(self, traffic: Mapping[str, int]) -> Self:
        """A canary passed its smoke test under this traffic; stable stays the traffic to return to."""
        return self._validated(written_traffic=dict(traffic), is_tested=True)

    def promoted(self, attempt: str, at: str, live: Served, traffic: Mapping[str, int]) -> Self:
        """A rollout succeeded: this traffic is stable now; the time of the first call by an attempt counts."""
        proven = self._validated(
            written_traffic=dict(traffic),
            stable_traffic=dict(traffic),
            is_tested=False,
            live=live,
            failures=None,
            underway=None,
            progression=None,
        )
        if proven.has_promoted(attempt):
            return proven
        last = Ended(outcome=End.PROMOTED, attempt=attempt, at=at)
        return proven.model_copy(update={"promoted_at": at, "last": last})

    def aborted(self, attempt: str, at: str) -> Self:
        """A rollout failed; an attempt that already promoted stays promoted, and so does another run's rollout."""
        if self.has_promoted(attempt):
            return self
        over = {} if self.is_of_another(attempt) else {"underway": None, "progression": None}
        return self.model_copy(update={"last": Ended(outcome=End.ABORTED, attempt=attempt, at=at), **over})

    def replacing(self, previous: Served) -> Self:
        """A promotion replaced an online deployment."""
        return self.model_copy(update={"previous": previous})

    def rejecting(self, content: str) -> Self:
        """A model version failed through its own fault: automation must not roll it out again from this folder.

        The newest five are kept, and fewer if their names are very long.
        """
        kept = [*(one for one in self.rejected if one != content), content][-MOST_REJECTED:]
        while len(kept) > 1 and len(",".join(kept)) > MOST_REJECTED_CHARACTERS:
            kept.pop(0)
        return self.model_copy(update={"rejected": tuple(kept)})

    def accepting(self, model: str) -> Self:
        """A model version, `<name>:<version>`, succeeded: it is no longer rejected, with whatever folder."""
        kept = tuple(one for one in self.rejected if one.partition("/")[0].lower() != model.lower())
        return self.model_copy(update={"rejected": kept})

    def has_rejected(self, model: str, folder: str) -> bool:
        """Return True if a model version was rejected with a folder of that digest; letter case does not count."""
        known = {one.lower() for one in self.rejected}
        return model.lower() in known or f"{model}/{folder}".lower() in known

    def failed(self, content: str, at: str) -> Self:
        """The rollout of a content failed for a temporary reason."""
        before = self.failures.count if self.failures and self.failures.content == content else 0
        return self.model_copy(update={"failures": Failures(content=content, count=before + 1, at=at)})

    def paused(self, reason: str) -> Self:
        """Automation must leave the endpoint alone, for that reason; an empty one ends the pause."""
        return self._validated(pause_reason=reason)

    def told(self, command: Command | None) -> Self:
        """A person gave an order, or it was carried out (None); `resume` ends a pause and takes a hold back."""
        if command is not None and command.order is Order.RESUME:
            return self.paused("").told(None)
        return self.model_copy(update={"command": command})

    def obeyed(self) -> Self:
        """The order of a person was carried out; a hold stays until a person resumes or rolls out."""
        return self if self.is_held else self.told(None)

    @property
    def is_held(self) -> bool:
        """True if a person told rollouts to hold, and nobody has resumed since then."""
        return self.command is not None and self.command.order is Order.HOLD

    def is_of_another(self, attempt: str) -> bool:
        """Return True if the progressive rollout of another run is under way."""
        return self.underway is not None and not self.underway.is_of(attempt)

    def has_promoted(self, attempt: str) -> bool:
        """Return True if the last rollout was this attempt, and it succeeded."""
        return self.last is not None and (self.last.outcome, self.last.attempt) == (End.PROMOTED, attempt)

    def _validated(self, **changes: object) -> Self:
        return type(self).model_validate({**dict(self), **changes})


class OnlineDeploymentRecord(Frozen):
    """Rollway's memory of an online deployment.

    Attributes:
        fingerprint: Hash of everything that decides what it is; empty if Rollway did not create it.
        model: The model as `<name>:<version>`.
        code: The first 12 hex digits of the code's SHA-256.
        instances: `instance_count` of the file when it was applied last.
        written_by: The attempt that wrote it last.
        created_by: The attempt that created it; None if Rollway did not.
    """

    fingerprint: str = ""
    model: str | None = None
    code: str | None = None
    instances: int | None = None
    written_by: str | None = None
    created_by: str | None = None
    created_at: str | None = None

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> Self:
        """Return the record in the tags of an online deployment; raises ConfigurationError if it is too new."""
        _check_format(tags)
        return cls(
            fingerprint=value_of(tags, FINGERPRINT) or "",
            model=value_of(tags, MODEL),
            code=value_of(tags, CODE),
            instances=parse_count(value_of(tags, INSTANCES)),
            written_by=value_of(tags, RUN),
            created_by=value_of(tags, CREATED_BY),
            created_at=value_of(tags, CREATED_AT),
        )

    def tags(self) -> dict[str, str]:
        """Return the tags that hold the record."""
        return _tags(
            {
                FINGERPRINT: self.fingerprint,
                MODEL: self.model,
                CODE: self.code,
                INSTANCES: self.instances,
                RUN: self.written_by,
                CREATED_BY: self.created_by,
                CREATED_AT: self.created_at,
            }
        )

    def created(self, attempt: str, at: str) -> Self:
        """An attempt created the online deployment."""
        return self.model_copy(update={"written_by": attempt, "created_by": attempt, "created_at": at})

    def seconds_since_creation(self, now: datetime, attempt: str) -> int | None:
        """Return its age; None unless the flow run of the attempt created it and has not changed it since then."""
        makers = {self.created_by or "", self.written_by or ""}
        since_then = age(self.created_at or "", now)
        if since_then is None or not all(is_same_run(maker, attempt) for maker in makers):
            return None
        return max(0, round(since_then.total_seconds()))

    def changed(self, content: Self, attempt: str) -> Self:
        """An attempt changed it in place; it has the content of the record `content` now."""
        changes = {name: getattr(content, name) for name in ("fingerprint", "model", "code", "instances")}
        return self.model_copy(update={**changes, "written_by": attempt})


Record = EndpointRecord | OnlineDeploymentRecord


def has_record(tags: Mapping[str, str]) -> bool:
    """Return True if Rollway has written to the resource."""
    return any(is_ours(name) for name in tags)


def others(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that do not belong to the record."""
    return {name: value for name, value in tags.items() if not is_ours(name)}


def with_record(tags: Mapping[str, str], record: Record) -> dict[str, str]:
    """Return the tags with the record in them; everybody else's stay.

    Tags of the record that are no longer needed become empty instead of missing: it is not documented whether a PATCH
    replaces the tags of a resource or merges them.
    """
    return {**{name: "" if is_ours(name) else value for name, value in tags.items()}, **record.tags()}


def is_same_run(one: str, other: str) -> bool:
    """Return True if two attempts, `<flow run>/<attempt>`, belong to the same flow run."""
    return one.partition("/")[0] == other.partition("/")[0]


def is_earlier_attempt(holder: str, attempt: str) -> bool:
    """Return True if the holder is an earlier attempt of the same flow run."""
    number, own_number = holder.partition("/")[2], attempt.partition("/")[2]
    are_numbers = number.isdecimal() and own_number.isdecimal()
    return is_same_run(holder, attempt) and are_numbers and int(number) < int(own_number)


def _check_format(tags: Mapping[str, str]) -> None:
    text = tags.get(VERSION) or str(FORMAT)
    if text.isdecimal() and int(text) > FORMAT:
        raise ConfigurationError(
            "a newer version of Rollway has written the record of this endpoint",
            where=f"tag {VERSION}",
            why=f"its format is {text}, and this version reads {FORMAT}",
            hint="upgrade Rollway wherever it runs",
        )


def _tags(values: Mapping[str, object]) -> dict[str, str]:
    return {VERSION: str(FORMAT), **split({name: "" if one is None else str(one) for name, one in values.items()})}
