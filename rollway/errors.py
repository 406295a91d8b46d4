"""Everything Rollway reports as an error, as one tree.

Each class says how a process that ends with it exits, whether the same call may succeed when made again, and whether
what was being deployed is to blame. Each error has a `cause`, its class's own or what Azure's answer says, and says
whether the model or its code has failed::

    RollwayError               exit 1
    ├── ConfigurationError     exit 2   what was asked for cannot be done; Azure was left as it was
    │   ├── InvalidRollout              the folder's files, all problems at once
    │   ├── CredentialsRejected         no credentials, or Microsoft Entra refused them
    │   ├── AccessDenied                the identity lacks a role
    │   ├── NotFound                    workspace, model, environment, version
    │   ├── PreflightFailed             the plan shows that it cannot succeed, all reasons at once
    │   └── RequestRefused              Azure judged the request invalid: name taken, quota, bad value
    ├── RolloutAborted         exit 3   the rollout ended, traffic is where it was before
    │   ├── ProvisioningFailed          the online deployment never became ready (the candidate's fault)
    │   ├── SmokeTestFailed             it answered, but not as expected (the candidate's fault)
    │   ├── EndpointUnreachable         the scoring URI gives no answer at all
    │   ├── EndpointFailed              an operation on the endpoint itself failed, such as moving traffic
    │   ├── AnotherRollout              another rollout holds the endpoint for longer than this one may wait
    │   └── ForeignChange               somebody else changed the endpoint meanwhile
    │       └── LeaseLost               another rollout took the endpoint over
    ├── DeadlineExceeded       exit 5   a wait took longer than allowed
    ├── TrafficNotRestored     exit 4   a person must look: traffic may not be where it was
    ├── PrefectUnavailable     exit 1   the Prefect server cannot be reached, or lacks what is asked of it
    ├── WatchIncomplete        exit 1   a look at some rollouts failed; the others were handled
    └── AzureUnavailable       exit 1   429, 5xx or no connection, after the client's own retries (retryable)
        └── Busy               exit 1   another operation holds the resource (retryable)
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar, Protocol


class Cause(StrEnum):
    """The kinds of reasons for which a rollout fails, by what helps."""

    TRANSIENT = "transient"  # Azure's own trouble: the same rollout works later
    BUSY = "busy"  # something else is running on the resource: the same rollout works once that has ended
    QUOTA = "quota"  # a limit is reached: ask for more, use less, or free some
    PERMANENT = "permanent"  # repeating it gives the same: something must be changed first
    CONFLICT = "conflict"  # somebody else changed the endpoint: look who, then decide


# Azure's codes for a container that came up and could not serve; of others (image, identity, quota) it is innocent.
_MODELS_FAULT = re.compile(r"ResourceNotReady|UserScript\w*|\w*CrashLoopBackOff", re.IGNORECASE)


class RollwayError(Exception):
    """What happened, where, why, and what to try; `str()` is the text for people, without a traceback.

    `code` is Azure's own error code, `error_tree` Azure's whole error as indented lines, `details` what the containers
    or the files say.
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
        self.code = code
        self.error_tree = error_tree

    @property
    def is_models_fault(self) -> bool:
        """Whether the model, or the code that serves it, has failed: another try would fail as well."""
        return False

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
    """What was asked for cannot be done; nothing in Azure was changed."""

    exit_code = 2


class _ProblemLike(Protocol):
    def __str__(self) -> str: ...


class InvalidRollout(ConfigurationError):
    """The files of a rollout folder are wrong; lists every problem found, one per line."""

    def __init__(self, what: str, problems: Sequence[_ProblemLike] = (), *, hint: str | None = None) -> None:
        super().__init__(what, hint=hint, details="\n".join(f"  {problem}" for problem in problems) or None)
        self.problems = tuple(problems)


class PreflightFailed(ConfigurationError):
    """The plan cannot be carried out; `details` has everything that was found, and what helps."""


class CredentialsRejected(ConfigurationError):
    """There are no usable credentials, or Microsoft Entra refused them."""


class AccessDenied(ConfigurationError):
    """The identity is known but lacks the role for this action."""


class NotFound(ConfigurationError):
    """A workspace, model, environment or version that was named does not exist."""


class RequestRefused(ConfigurationError):
    """Azure judged the request itself invalid (HTTP 400 or 409 that no waiting will heal)."""


class RolloutAborted(RollwayError):
    """The rollout ended before it was promoted; traffic is where it was before."""

    exit_code = 3


class ProvisioningFailed(RolloutAborted):
    """The online deployment did not become ready; `details` holds the containers' own logs."""

    is_candidates_fault = True

    @property
    def is_models_fault(self) -> bool:
        """Whether Azure's code says that the container came up and could not serve."""
        return _MODELS_FAULT.fullmatch(self.code or "") is not None


class SmokeTestFailed(RolloutAborted):
    """The online deployment answered the smoke test, but not as expected."""

    is_candidates_fault = True
    is_models_fault = True


class EndpointUnreachable(RolloutAborted):
    """The scoring URI gives no answer at all, so nothing is known about the model behind it."""


class EndpointFailed(RolloutAborted):
    """An operation on the endpoint itself failed, such as creating it or moving its traffic."""


class AnotherRollout(RolloutAborted):
    """Another rollout holds the endpoint, and has for longer than this one was allowed to wait."""

    cause = Cause.BUSY


class ForeignChange(RolloutAborted):
    """Somebody else changed the endpoint while the rollout was under way."""

    cause = Cause.CONFLICT


class LeaseLost(ForeignChange):
    """Another rollout took the endpoint over: this one must not write to it any more."""


class DeadlineExceeded(RollwayError):
    """A wait took longer than it was allowed to; what was waited for may still come."""

    exit_code = 5
    cause = Cause.TRANSIENT


class TrafficNotRestored(RollwayError):
    """The rollout failed, and so did the attempt to bring everything back to what it was before."""

    exit_code = 4


class PrefectUnavailable(RollwayError):
    """The Prefect server cannot be reached, or does not know what it is asked to run."""

    cause = Cause.TRANSIENT


class WatchIncomplete(RollwayError):
    """New model versions of some rollouts could not be noticed or started; all others were handled."""


class AzureUnavailable(RollwayError):
    """Azure throttled, failed or could not be reached, although the client repeated the call."""

    retryable = True
    cause = Cause.TRANSIENT


class Busy(AzureUnavailable):
    """Another operation is running on the resource; the same call works once that has ended."""

    cause = Cause.BUSY
