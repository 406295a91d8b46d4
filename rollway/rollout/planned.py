"""A run with its plan: one value for all tasks."""

from rollway.rollout.autoscale import AutoscaleSetting
from rollway.rollout.moves import Move
from rollway.rollout.plan import Plan
from rollway.rollout.request import Request
from rollway.rollout.wanted import Wanted
from rollway.settings import Workspace
from rollway.spec import Frozen, RolloutSpec


class PlannedRollout(Frozen):
    """A run with its plan: one value for all tasks after it.

    Attributes:
        autoscale: The autoscale settings of the endpoint's online deployments.
        scoring_uri: Where clients score, as the endpoint said at the plan.
        is_superseded: True if a newer version is live than the one that was asked for.
    """

    workspace: Workspace
    spec: RolloutSpec
    request: Request
    wanted: Wanted
    plan: Plan
    autoscale: tuple[AutoscaleSetting, ...] = ()
    scoring_uri: str | None = None
    is_superseded: bool = False

    @property
    def endpoint(self) -> str:
        """Name of the endpoint."""
        return self.plan.endpoint

    @property
    def is_over(self) -> bool:
        """True if nothing is to be done after the plan, and nothing has failed."""
        return self.request.is_dry_run or (self.plan.is_no_op and self.plan.end.is_good_end)

    def why_it_may_last(self, move: Move) -> tuple[str, ...]:
        """Return what a person wants to know during the wait for a new online deployment."""
        environment = self.wanted.environment
        first = ("Azure builds the new environment first",) if environment is not None and environment.is_new else ()
        return (*first, *((f"the last one took {move.seconds:.0f} s",) if move.seconds else ()))
