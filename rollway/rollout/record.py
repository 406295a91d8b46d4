"""The record: all that Rollway remembers, as tags of the endpoint and of its online deployments.

Azure is the only memory of a rollout, and only this module knows the text of a tag. Azure allows 256 characters in the
value of a tag and 50 tags on a resource ("Use tags to organize your Azure resources"), so a longer value continues in
tags named `<tag>.2`, `<tag>.3`, …; an empty tag means the same as none.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Self

from pydantic import field_validator

from rollway.errors import ConfigurationError
from rollway.rollout import traffic
from rollway.spec import Frozen

FORMAT = 1
MOST_CHARACTERS = 256  # in the value of a tag
MOST_TAGS = 22  # of a record, with the longest names that Azure allows
MOST_REJECTED, MOST_REJECTED_CHARACTERS = 5, 4 * MOST_CHARACTERS

PREFIX = "rollway:"
VERSION = "rollway:record"  # the format of all other tags
# Of endpoints and online deployments
RUN = "rollway:run"  # the attempt that wrote last; on an endpoint: that moved traffic last
CREATED_BY = "rollway:created-by"
CREATED_AT = "rollway:created-at"
# Of endpoints
LEASE = "rollway:lease"
WRITTEN_TRAFFIC = "rollway:traffic"
PROVEN_TRAFFIC = "rollway:proven-traffic"
PREVIOUS = "rollway:previous"
REJECTED = "rollway:rejected"
PROMOTED_AT = "rollway:promoted-at"
LAST = "rollway:last"
PAUSED = "rollway:paused"
# Of online deployments
FINGERPRINT = "rollway:fingerprint"
MODEL = "rollway:model"
CODE = "rollway:code"

FREE = "free"
NO_TRAFFIC = "none"


class Lease(Frozen):
    """The claim of one run attempt on an endpoint; `renewed_at` makes each renewal a different value."""

    holder: str
    ttl_seconds: int
    renewed_at: str


class Served(Frozen):
    """An online deployment that served traffic, and its model as `<name>:<version>`."""

    online_deployment: str
    model: str = ""


class End(StrEnum):
    """The two ends of a rollout that moved traffic."""

    PROMOTED = "promoted"
    ABORTED = "aborted"


class Ended(Frozen):
    """End of the last rollout; `attempt` is `<flow run>/<attempt>`, `at` a time in UTC."""

    outcome: End
    attempt: str
    at: str


class EndpointRecord(Frozen):
    """Rollway's memory of an endpoint. Each method returns the record after one event.

    Attributes:
        lease: Who may write to the endpoint and what is behind it; None if nobody holds it.
        created_by: The attempt that created the endpoint; None if Rollway did not.
        moved_by: The attempt that moved traffic last.
        written_traffic: The traffic that Rollway wrote last, in percent by online deployment.
        proven_traffic: The last traffic that passed its smoke test.
        previous: The online deployment that the last promotion replaced.
        rejected: Model versions, `<name>:<version>`, whose rollout failed through their own fault, oldest first.
        promoted_at: Time since when the traffic is as it is, in UTC.
        last: The end of the last rollout.
        pause_reason: Why automation leaves the endpoint alone; empty if it is not paused.
    """

    lease: Lease | None = None
    created_by: str | None = None
    created_at: str | None = None
    moved_by: str | None = None
    written_traffic: dict[str, int] | None = None
    proven_traffic: dict[str, int] | None = None
    previous: Served | None = None
    rejected: tuple[str, ...] = ()
    promoted_at: str | None = None
    last: Ended | None = None
    pause_reason: str = ""

    @field_validator("pause_reason")
    @classmethod
    def _on_one_line(cls, reason: str) -> str:
        return " ".join(reason.split())[:MOST_CHARACTERS].rstrip()

    @field_validator("written_traffic", "proven_traffic")
    @classmethod
    def _as_azure_writes_it(cls, weights: dict[str, int] | None) -> dict[str, int] | None:
        return None if weights is None else traffic.significant(weights)

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> Self:
        """Return the record in the tags of an endpoint; a value that Rollway did not write counts as absent.

        Raises ConfigurationError if a newer version of Rollway wrote it.
        """
        _check_format(tags)
        return cls(
            lease=_lease(_value(tags, LEASE)),
            created_by=_value(tags, CREATED_BY),
            created_at=_value(tags, CREATED_AT),
            moved_by=_value(tags, RUN),
            written_traffic=_traffic(_value(tags, WRITTEN_TRAFFIC)),
            proven_traffic=_traffic(_value(tags, PROVEN_TRAFFIC)),
            previous=_served(_value(tags, PREVIOUS)),
            rejected=tuple(one.strip() for one in (_value(tags, REJECTED) or "").split(",") if one.strip()),
            promoted_at=_value(tags, PROMOTED_AT),
            last=_ended(_value(tags, LAST)),
            pause_reason=_value(tags, PAUSED) or "",
        )

    def tags(self) -> dict[str, str]:
        """Return the tags that hold the record."""
        lease, previous, last = self.lease, self.previous, self.last
        return _tags(
            {
                LEASE: f"{lease.holder} {lease.ttl_seconds} {lease.renewed_at}" if lease else FREE,
                CREATED_BY: self.created_by,
                CREATED_AT: self.created_at,
                RUN: self.moved_by,
                WRITTEN_TRAFFIC: _traffic_text(self.written_traffic),
                PROVEN_TRAFFIC: _traffic_text(self.proven_traffic),
                PREVIOUS: f"{previous.online_deployment}={previous.model}" if previous else None,
                REJECTED: ",".join(self.rejected),
                PROMOTED_AT: self.promoted_at,
                LAST: f"{last.outcome.value} {last.attempt} {last.at}" if last else None,
                PAUSED: self.pause_reason,
            }
        )

    def created(self, attempt: str, at: str) -> Self:
        """Rollway created the endpoint."""
        return self.model_copy(update={"created_by": attempt, "created_at": at})

    def claimed(self, lease: Lease) -> Self:
        """An attempt took the lease, or renewed it."""
        return self.model_copy(update={"lease": lease})

    def released(self) -> Self:
        """The holder gave the lease back."""
        return self.model_copy(update={"lease": None})

    def moved(self, attempt: str, traffic: Mapping[str, int], proven: Mapping[str, int]) -> Self:
        """An attempt moved traffic; `proven` is the traffic to return to if it fails."""
        return self._validated(moved_by=attempt, written_traffic=dict(traffic), proven_traffic=dict(proven))

    def proved(self, traffic: Mapping[str, int]) -> Self:
        """The traffic passed its smoke test: from now on it is the one to return to."""
        return self._validated(written_traffic=dict(traffic), proven_traffic=dict(traffic))

    def promoted(self, attempt: str, at: str) -> Self:
        """A rollout succeeded; the time of the first call by an attempt counts."""
        if self.has_promoted(attempt):
            return self
        return self.model_copy(update={"promoted_at": at, "last": Ended(outcome=End.PROMOTED, attempt=attempt, at=at)})

    def aborted(self, attempt: str, at: str) -> Self:
        """A rollout failed; an attempt that already promoted stays promoted."""
        if self.has_promoted(attempt):
            return self
        return self.model_copy(update={"last": Ended(outcome=End.ABORTED, attempt=attempt, at=at)})

    def replacing(self, previous: Served) -> Self:
        """A promotion replaced an online deployment."""
        return self.model_copy(update={"previous": previous})

    def rejecting(self, model: str) -> Self:
        """A model version failed through its own fault: automation must not roll it out again.

        The newest five are kept, and fewer if their names are very long.
        """
        kept = [*self.accepting(model).rejected, model][-MOST_REJECTED:]
        while len(kept) > 1 and len(",".join(kept)) > MOST_REJECTED_CHARACTERS:
            kept.pop(0)
        return self.model_copy(update={"rejected": tuple(kept)})

    def accepting(self, model: str) -> Self:
        """A model version succeeded, or a person asked for it again."""
        return self.model_copy(update={"rejected": tuple(one for one in self.rejected if one != model)})

    def paused(self, reason: str) -> Self:
        """Automation must leave the endpoint alone, for that reason; an empty one ends the pause."""
        return self._validated(pause_reason=reason)

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
        written_by: The attempt that wrote it last.
        created_by: The attempt that created it; None if Rollway did not.
    """

    fingerprint: str = ""
    model: str | None = None
    code: str | None = None
    written_by: str | None = None
    created_by: str | None = None
    created_at: str | None = None

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> Self:
        """Return the record in the tags of an online deployment; raises ConfigurationError if it is too new."""
        _check_format(tags)
        return cls(
            fingerprint=_value(tags, FINGERPRINT) or "",
            model=_value(tags, MODEL),
            code=_value(tags, CODE),
            written_by=_value(tags, RUN),
            created_by=_value(tags, CREATED_BY),
            created_at=_value(tags, CREATED_AT),
        )

    def tags(self) -> dict[str, str]:
        """Return the tags that hold the record."""
        return _tags(
            {
                FINGERPRINT: self.fingerprint,
                MODEL: self.model,
                CODE: self.code,
                RUN: self.written_by,
                CREATED_BY: self.created_by,
                CREATED_AT: self.created_at,
            }
        )

    def created(self, attempt: str, at: str) -> Self:
        """An attempt created the online deployment."""
        return self.model_copy(update={"written_by": attempt, "created_by": attempt, "created_at": at})

    def changed(self, content: Self, attempt: str) -> Self:
        """An attempt changed it in place; it has the fingerprint, model and code of `content` now."""
        changes = {"fingerprint": content.fingerprint, "model": content.model, "code": content.code}
        return self.model_copy(update={**changes, "written_by": attempt})


Record = EndpointRecord | OnlineDeploymentRecord


def is_ours(name: str) -> bool:
    """Return True if a tag of that name belongs to the record."""
    return name.startswith(PREFIX)


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


def is_earlier_attempt(holder: str, attempt: str) -> bool:
    """Return True if the holder is an earlier attempt of the same flow run."""
    (flow_run, _, number), (own_flow_run, _, own_number) = holder.partition("/"), attempt.partition("/")
    return flow_run == own_flow_run and number.isdecimal() and own_number.isdecimal() and int(number) < int(own_number)


def _check_format(tags: Mapping[str, str]) -> None:
    text = tags.get(VERSION) or str(FORMAT)
    if text.isdecimal() and int(text) > FORMAT:
        raise ConfigurationError(
            "a newer version of Rollway has written the record of this endpoint",
            where=f"tag {VERSION}",
            why=f"its format is {text}, and this version reads {FORMAT}",
            hint="upgrade Rollway wherever it runs",
        )


def _value(tags: Mapping[str, str], name: str) -> str | None:
    return "".join(tags[part] for part in _parts(tags, name)) or None


def _parts(tags: Mapping[str, str], name: str) -> Iterator[str]:
    number, part = 1, name
    while tags.get(part):
        yield part
        number, part = number + 1, f"{name}.{number + 1}"


def _tags(values: Mapping[str, str | None]) -> dict[str, str]:
    tags = {VERSION: str(FORMAT)}
    for name, value in values.items():
        text = value or ""
        for start in range(0, len(text), MOST_CHARACTERS):
            number = start // MOST_CHARACTERS + 1
            tags[name if number == 1 else f"{name}.{number}"] = text[start : start + MOST_CHARACTERS]
    return tags


def _lease(text: str | None) -> Lease | None:
    parts = (text or FREE).split(" ")
    if len(parts) != 3 or not parts[1].isdecimal():
        return None
    return Lease(holder=parts[0], ttl_seconds=int(parts[1]), renewed_at=parts[2])


def _served(text: str | None) -> Served | None:
    name, _, model = (text or "").partition("=")
    return Served(online_deployment=name, model=model) if name else None


def _ended(text: str | None) -> Ended | None:
    words = (text or "").split(" ")
    if len(words) != 3 or words[0] not in list(End):
        return None
    return Ended(outcome=End(words[0]), attempt=words[1], at=words[2])


def _traffic_text(traffic: Mapping[str, int] | None) -> str | None:
    if traffic is None:
        return None
    return ",".join(f"{name}={weight}" for name, weight in sorted(traffic.items())) or NO_TRAFFIC


def _traffic(text: str | None) -> dict[str, int] | None:
    if text is None or text == NO_TRAFFIC:
        return None if text is None else {}
    traffic: dict[str, int] = {}
    for entry in text.split(","):
        name, _, weight = entry.partition("=")
        if not (name and name == name.lower() and weight.isascii() and weight.isdecimal() and int(weight)):
            return None
        traffic[name] = int(weight)
    return traffic if _traffic_text(traffic) == text else None
