"""Knowledge of a run besides what Azure says now."""

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import AwareDatetime

from rollway.rollout import traffic
from rollway.rollout.autoscale import AutoscaleSetting
from rollway.rollout.entries import Lease, time_text
from rollway.rollout.evidence import Judgement
from rollway.rollout.predictions import Comparison
from rollway.rollout.record import is_earlier_attempt
from rollway.rollout.state import OnlineDeploymentState
from rollway.spec import Frozen

LEASE_SECONDS = 300
LOOK_SECONDS = 300.0


class Look(Frozen):
    """One look at the evidence of a step; `number` is that of the step, from 1."""

    number: int
    at: AwareDatetime
    judgement: Judgement


class Facts(Frozen):
    """Knowledge of a run besides what Azure says now. None of it outlives the run, and the next run needs none of it.

    Attributes:
        attempt: This attempt, `<flow run>/<attempt>`.
        started: When it started, in UTC: before the waits in which it had no process.
        is_woken: True if it had no process for a while.
        now: The time, in UTC.
        lease_seconds: How long a claim of this run is valid, in seconds.
        began_with: The traffic that the run found; None before the first look.
        tested: The online deployments whose pinned smoke test passed, as they were then.
        proven: The traffic under which the live smoke test passed.
        disproved: The traffic under which the live smoke test of an earlier rollout failed.
        changed: Names of the online deployments that this run created or changed.
        provisioning_seconds: How long Azure needed for the online deployment that this run created; None if the run has
            not seen it become ready.
        ended: Attempts that are known to have ended.
        lease_age_seconds: How long this run has seen the same lease while no operation was running.
        autoscale: The autoscale settings of the endpoint's online deployments.
        comparison: The comparison of the predictions of canary and stable.
        look: The newest look at the running step.
        look_seconds: Time between two looks, in seconds; infinite for a plan, which looks once in each step.
        confirmed: Numbers of the steps after which a plan assumes that a person confirms.
        owned: True if this run has worked on the progressive rollout that is under way.
    """

    attempt: str
    started: datetime = datetime.min.replace(tzinfo=UTC)
    is_woken: bool = False
    now: datetime = datetime.min.replace(tzinfo=UTC)
    lease_seconds: int = LEASE_SECONDS
    began_with: dict[str, int] | None = None
    tested: tuple[OnlineDeploymentState, ...] = ()
    proven: dict[str, int] | None = None
    disproved: dict[str, int] | None = None
    changed: frozenset[str] = frozenset()
    provisioning_seconds: int | None = None
    ended: frozenset[str] = frozenset()
    lease_age_seconds: float = 0.0
    autoscale: tuple[AutoscaleSetting, ...] = ()
    comparison: Comparison | None = None
    look: Look | None = None
    look_seconds: float = LOOK_SECONDS
    confirmed: frozenset[int] = frozenset()
    owned: bool = False

    @property
    def at(self) -> str:
        """The time as text for a record."""
        return time_text(self.now)

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
