"""A plan together with everything that the tasks after it need."""

from typing import Self

from rollway.rollout.plan import Kind, Plan
from rollway.settings import Workspace
from rollway.spec import Frozen, HiddenText, RolloutSpec


class PlannedRollout(Frozen):
    """One value for all tasks after the plan, so that the run's graph has one arrow to each of them.

    Attributes:
        weight: Percent of traffic for the new online deployment.
        force: Token of a forced rollout, else empty; see `plan`.
        goes_back_to: The online deployment that a rollback returns to; None if the folder decides.
        pause_reason: Why automation must leave the endpoint alone afterwards; empty if it need not.
    """

    workspace: Workspace
    spec: RolloutSpec
    plan: Plan
    scoring_uri: str | None
    weight: int
    force: str
    is_dry_run: bool
    goes_back_to: str | None = None
    pause_reason: str = ""

    @property
    def name(self) -> str:
        """Name of the online deployment."""
        return self.plan.online_deployment

    @property
    def has_leftovers(self) -> bool:
        """True if something must be removed first."""
        return self.plan.has(Kind.REMOVE)

    @property
    def writes_online_deployment(self) -> bool:
        """True if the online deployment is created, adopted or changed; a rollback takes it as it is."""
        return self.goes_back_to is None or self.plan.has(Kind.UPDATE)

    def candidate_key(self, attempt_id: str) -> str:
        """Return a text that changes with the folder and with the online deployment.

        It stays the same for all attempts of a run unless an abort deleted the online deployment.
        """
        return f"{self.spec.model_dump_json()} {self.name} {self.plan.written_by or attempt_id}"

    def traffic_key(self, attempt_id: str) -> str:
        """Return a text that changes with the folder, the online deployment and its traffic."""
        return f"{self.candidate_key(attempt_id)} {self.plan.traffic_after} {self.plan.moved_by or attempt_id}"

    def detached(self) -> Self:
        """Return an equal value that shares no object with its sources.

        Prefect draws an arrow from each task whose result, or any part of it, it finds inside an argument.
        """
        return type(self).model_validate_json(self.model_dump_json(context=HiddenText.KEEP_MARKS))
