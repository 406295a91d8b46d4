"""The errors of Rollway, as one tree.

A class defines the exit code, whether the same call may succeed later, and whether the candidate is to blame. Each
error has a `cause`: that of its class, or the one that Azure's answer implies::

    RollwayError               exit 1
    ├── ConfigurationError     exit 2   the request is invalid or not allowed; traffic is where it was
    │   ├── InvalidRollout              the files of the folder are wrong, all problems at once
    │   ├── CredentialsRejected         no credentials, or Microsoft Entra refused them
    │   ├── AccessDenied                the identity lacks a role
    │   ├── NotFound                    workspace, model, environment or version does not exist
    │   ├── PreflightFailed             the plan cannot succeed, all reasons at once
    │   └── RequestRefused              Azure refused the request: name taken, quota, bad value
    ├── RolloutAborted         exit 3   the rollout failed, traffic is where it was before
    │   ├── ProvisioningFailed          the online deployment did not become ready (the candidate's fault)
    │   ├── SmokeTestFailed             it answered, but not as expected (the candidate's fault)
    │   ├── CanaryFailed                the evidence says that it is worse than stable (the candidate's fault)
    │   ├── CouldNotMeasure             no answer told anything about the model
    │   ├── ToldToAbort                 a person, or a rollback, told the rollout to abort
    │   ├── EndpointFailed              an operation on the endpoint failed, such as moving traffic
    │   ├── AnotherRollout              another rollout held the endpoint until the deadline
    │   └── ForeignChange               somebody else changed the endpoint
    ├── DeadlineExceeded       exit 5   a wait exceeded its deadline
    ├── TrafficNotRestored     exit 4   the abort failed: a person must look at the traffic
    ├── PrefectUnavailable     exit 1   the Prefect server is away, or lacks the Prefect deployment (retryable)
    ├── WatchIncomplete        exit 1   some rollouts could not be watched; the others were handled
    ├── FleetIncomplete        exit 4   some rollouts of a fleet failed or are held: a person must look
    └── AzureUnavailable       exit 1   429, 5xx or no connection after the client's retries (retryable)
        └── Busy               exit 1   another operation is running on the resource (retryable)
"""

import errno
import re
import traceback
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar, Protocol


class Cause(StrEnum):
    """Kinds of causes; each has its own remedy."""

    TRANSIENT = "transient"  # a temporary problem of Azure: the same rollout works later
    BUSY = "busy"  # another operation is running: the same rollout works when it has ended
    QUOTA = "quota"  # a limit is reached: request more, use less, or free some
    PERMANENT = "permanent"  # it fails again until something is changed
    CONFLICT = "conflict"  # somebody else changed the endpoint: find out who, then decide


# Azure's codes for a container that started but could not serve. Others (image, identity, quota) are not its fault.
_MODELS_FAULT = re.compile(r"ResourceNotReady|UserScript\w*|\w*CrashLoopBackOff", re.IGNORECASE)


class RollwayError(Exception):
    """Base of all errors of Rollway; `str()` is the text for people.

    Attributes:
        what: What happened.
        where: The resource, or the file and field.
        why: The reason.
        hint: What to try.
        request_id: Azure's request id.
        details: An excerpt of the answer, or problems of the files.
        log: Logs of the containers. The text for people leaves them out: they are in the run's log and the dossier.
        code: Azure's error code.
        error_tree: Azure's whole error as indented lines.
    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    is_candidates_fault: ClassVar[bool] = False
    cause: Cause = Cause.PERMANENT

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        hint: str | None = None,
        request_id: str | None = None,
        details: str | None = None,
        log: str | None = None,
        cause: Cause | None = None,
        code: str | None = None,
        error_tree: str | None = None,
    ) -> None:
        super().__init__(what)
        if cause is not None:
            self.cause = cause
        self.what = what
        self.where = where
        self.why = why
        self.hint = hint
        self.request_id = request_id
        self.details = details
        self.log = log
        self.code = code
        self.error_tree = error_tree

    @property
    def is_models_fault(self) -> bool:
        """True if the model or its code failed, so that another try would fail too."""
        return False

    def document(self) -> dict[str, object]:
        """Return the error as a JSON object: what, where, why, next, exit_code and, if there are any, further keys."""
        found = {"request_id": self.request_id, "code": self.code, "details": self.details, "log": self.log}
        return {
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "next": self.hint,
            "exit_code": self.exit_code,
            **{key: value for key, value in found.items() if value},
        }

    @property
    def with_log(self) -> str:
        """The text for people, followed by the logs of the containers."""
        return "\n\n".join(filter(None, (str(self), (self.log or "").rstrip())))

    def __str__(self) -> str:
        labelled = [
            ("where", self.where),
            ("why", self.why),
            ("try", self.hint),
            ("Azure request id", self.request_id),
        ]
        lines = [self.what, *(f"  {label}: {text}" for label, text in labelled if text)]
        if self.details:
            lines += ["", self.details.rstrip()]
        return "\n".join([*lines, *getattr(self, "__notes__", [])])


class ConfigurationError(RollwayError):
    """The request is invalid or not allowed; nothing in Azure was changed."""

    exit_code = 2


class _ProblemLike(Protocol):
    @property
    def file(self) -> str: ...
    @property
    def field(self) -> str: ...
    @property
    def message(self) -> str: ...


class InvalidRollout(ConfigurationError):
    """The files of a rollout folder are wrong; lists every problem, one per line."""

    def __init__(
        self,
        what: str,
        problems: Sequence[_ProblemLike] = (),
        *,
        where: str | None = None,
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        details = "\n".join(f"  {problem}" for problem in problems) or None
        super().__init__(what, where=where, why=why, hint=hint, details=details)
        self.problems = tuple(problems)

    def document(self) -> dict[str, object]:
        """Return the error as a JSON object, with a list of its problems."""
        problems = [{"file": one.file, "field": one.field, "message": one.message} for one in self.problems]
        return super().document() | {"problems": problems}


class PreflightFailed(ConfigurationError):
    """The plan cannot succeed; `details` lists all findings and their hints."""


class CredentialsRejected(ConfigurationError):
    """There are no usable credentials, or Microsoft Entra refused them."""


class AccessDenied(ConfigurationError):
    """The identity is known but lacks the role for this action."""


class NotFound(ConfigurationError):
    """The workspace, model, environment or version does not exist."""


class RequestRefused(ConfigurationError):
    """Azure refused the request as invalid; the same request fails again."""


class RolloutAborted(RollwayError):
    """The rollout ended before its promotion; traffic is where it was before."""

    exit_code = 3


class ProvisioningFailed(RolloutAborted):
    """The online deployment did not become ready; `log` has the containers' logs."""

    is_candidates_fault = True

    @property
    def is_models_fault(self) -> bool:
        """True if, by Azure's code, the container started but could not serve."""
        return _MODELS_FAULT.fullmatch(self.code or "") is not None


class SmokeTestFailed(RolloutAborted):
    """The online deployment answered the smoke test, but not as expected."""

    is_candidates_fault = True
    is_models_fault = True


class CanaryFailed(RolloutAborted):
    """By the evidence of a step, the canary is worse than stable, or than an absolute limit."""

    is_candidates_fault = True
    is_models_fault = True


class CouldNotMeasure(RolloutAborted):
    """The gateway or the network failed instead of the model, so nothing is known about the model.

    `status` is the HTTP status of the last answer; None if there was none.
    """

    cause = Cause.TRANSIENT
    status: int | None = None

    @property
    def may_be_in_log(self) -> bool:
        """True if the containers' logs may tell why: the gateway could not reach them, or got no good answer."""
        return self.status is not None and (self.status == 424 or self.status >= 500)


class ToldToAbort(RolloutAborted):
    """A person, or a rollback that comes first, told the rollout to abort."""


class EndpointFailed(RolloutAborted):
    """An operation on the endpoint failed, such as creating it or moving its traffic."""


class AnotherRollout(RolloutAborted):
    """Another rollout held the endpoint until the deadline."""

    cause = Cause.BUSY


class ForeignChange(RolloutAborted):
    """Somebody else changed the endpoint during the rollout."""

    cause = Cause.CONFLICT


class DeadlineExceeded(RollwayError):
    """A wait exceeded its deadline; the operation may still succeed."""

    exit_code = 5
    cause = Cause.TRANSIENT


class TrafficNotRestored(RollwayError):
    """The rollout failed, and so did its abort: a person must look at the traffic."""

    exit_code = 4


class PrefectUnavailable(RollwayError):
    """The Prefect server cannot be reached, or does not know the Prefect deployment."""

    retryable = True
    cause = Cause.TRANSIENT


class WatchIncomplete(RollwayError):
    """Some rollouts could not be watched or started; the others were handled."""


class FleetIncomplete(RollwayError):
    """Some rollouts of a fleet failed or are held; the others ended well or were not started."""

    exit_code = 4


class AzureUnavailable(RollwayError):
    """Azure throttled, failed or could not be reached, after the client's retries."""

    retryable = True
    cause = Cause.TRANSIENT


class Busy(AzureUnavailable):
    """Another operation is running on the resource; the same call works when it has ended."""

    cause = Cause.BUSY


def known(error: BaseException) -> RollwayError:
    """Return an error of ours as it is, and any other exception as the error that stands for it."""
    return error if isinstance(error, RollwayError) else unexpected(error)


def unexpected(error: BaseException) -> RollwayError:
    """Return the error for an exception that nobody expected: of the operating system, of a library, or a bug."""
    if isinstance(error, OSError) and error.strerror:
        hint = _HINTS_OF_THE_SYSTEM.get(error.errno or 0, "see why the operating system refuses it")
        what = "the operating system refused something"
        return RollwayError(what, where=_file_of(error), why=error.strerror, hint=hint)
    return RollwayError(
        "something went wrong that Rollway does not know",
        where=_place_of(error),
        why=f"{type(error).__name__}: {error}".rstrip(": "),
        hint="run it again with --debug to see the traceback; if it stays, report it with that",
    )


_HINTS_OF_THE_SYSTEM = {
    errno.ENOSPC: "the disk is full: free some space, then run it again",
    errno.EDQUOT: "your disk quota is used up: free some space, then run it again",
    errno.EACCES: "check who may read and write it",
    errno.EROFS: "the file system is read-only: run it where it can write",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ECONNREFUSED: "nothing listens there: start it, or correct its address",
}


def _place_of(error: BaseException) -> str | None:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else None


def _file_of(error: OSError) -> str | None:
    return None if error.filename is None else str(error.filename)
