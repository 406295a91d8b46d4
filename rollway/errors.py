"""Everything Rollway reports as an error, as one tree.

Each class says how a process that ends with it exits, and whether the same call may succeed when made again::

    RollwayError               exit 1
    ├── ConfigurationError     exit 2   what was asked for cannot be done; Azure was left as it was
    │   ├── InvalidRollout              the folder's files, all problems at once
    │   ├── CredentialsRejected         no credentials, or Microsoft Entra refused them
    │   ├── AccessDenied                the identity lacks a role
    │   ├── NotFound                    workspace, model, environment, version
    │   └── RequestRefused              Azure judged the request invalid: name taken, quota, bad value
    ├── RolloutAborted         exit 3   the rollout ended, traffic is where it was before
    │   ├── ProvisioningFailed          the online deployment never became ready
    │   ├── SmokeTestFailed             it answered, but not as expected
    │   └── ForeignChange               somebody else changed the endpoint meanwhile
    ├── DeadlineExceeded       exit 5   a wait took longer than allowed
    ├── TrafficNotRestored     exit 4   a person must look: traffic may not be where it was
    ├── WatchIncomplete        exit 1   a look at some rollouts failed; the others were handled
    └── AzureUnavailable       exit 1   429, 5xx or no connection, after the client's own retries (retryable)
        └── Busy               exit 1   another operation holds the resource (retryable)
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol


class RollwayError(Exception):
    """What happened, where, why, and what to try; `str()` is the text for people, without a traceback."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        hint: str | None = None,
        request_id: str | None = None,
        details: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.hint = hint
        self.request_id = request_id
        self.details = details

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


class SmokeTestFailed(RolloutAborted):
    """The online deployment answered the smoke test, but not as expected."""


class ForeignChange(RolloutAborted):
    """Somebody else changed the endpoint while the rollout was under way."""


class DeadlineExceeded(RollwayError):
    """A wait took longer than it was allowed to."""

    exit_code = 5


class TrafficNotRestored(RollwayError):
    """The rollout failed, and so did the attempt to bring everything back to what it was before."""

    exit_code = 4


class WatchIncomplete(RollwayError):
    """New model versions of some rollouts could not be noticed or started; all others were handled."""


class AzureUnavailable(RollwayError):
    """Azure throttled, failed or could not be reached, although the client repeated the call."""

    retryable = True


class Busy(AzureUnavailable):
    """Another operation is running on the resource; the same call works once that has ended."""
