"""The needs of Rollway here: a list of checks, each with its finding and the next step."""

from collections.abc import Iterable, Iterator
from enum import StrEnum

from rollway.errors import RollwayError
from rollway.rollout.autoscale import WRITE_ACTION
from rollway.rollout.permissions import Permission, is_allowed
from rollway.spec import Frozen

_WORKSPACES = "Microsoft.MachineLearningServices/workspaces"
# Of a rollout; docs/azure-setup.md, "Roles".
NEEDED = tuple(
    f"{_WORKSPACES}/{action}"
    for action in (
        "models/versions/read",
        "environments/versions/write",
        "codes/versions/write",
        "datastores/listsecrets/action",
        "onlineEndpoints/write",
        "onlineEndpoints/deployments/write",
        "onlineEndpoints/deployments/getLogs/action",
        "onlineEndpoints/listKeys/action",
        "onlineEndpoints/score/action",
    )
)
METRICS_ACTION = "Microsoft.Insights/metrics/read"


class State(StrEnum):
    """Result of a check; only what is missing keeps Rollway from working."""

    OK = "ok"
    MISSING = "missing"
    OPTIONAL = "optional"  # missing, and needed only for a part of Rollway
    UNKNOWN = "unknown"  # another check must be ok first


class Check(Frozen):
    """One check: what was found, and what to do; `next` is empty if there is nothing to do."""

    name: str
    state: State
    found: str
    next: str = ""

    @classmethod
    def failed(cls, name: str, error: RollwayError) -> "Check":
        """Return the check that an error has answered."""
        found = f"{error.what}: {error.why}" if error.why else error.what
        return cls(name=name, state=State.MISSING, found=" ".join(found.split()), next=error.hint or "")


class Checkup(Frozen):
    """All checks, in the order in which to read them."""

    checks: tuple[Check, ...]

    @property
    def is_ready(self) -> bool:
        """True if nothing is missing that Rollway needs."""
        return not any(one.state is State.MISSING for one in self.checks)


def check_roles(permissions: Iterable[Permission] | None) -> Iterator[Check]:
    """Yield a check for each role; `permissions` are the caller's, None if they cannot be read."""
    if permissions is None:
        yield Check(name="roles", state=State.UNKNOWN, found="your permissions cannot be read")
        return
    known = tuple(permissions)
    refused = [action.removeprefix(f"{_WORKSPACES}/") for action in NEEDED if not is_allowed(known, action)]
    if refused:
        yield Check(
            name="roles",
            state=State.MISSING,
            found=f"not allowed: {', '.join(refused)}",
            next="have somebody grant you 'AzureML Data Scientist' on the workspace; it takes minutes to take effect",
        )
    else:
        yield Check(name="roles", state=State.OK, found="all actions of a rollout are allowed")
    for name, action, role, use in (
        ("metrics", METRICS_ACTION, "Monitoring Reader", "a progressive rollout that Azure Monitor judges"),
        ("autoscale", WRITE_ACTION, "Monitoring Contributor", "online deployments with autoscale settings"),
    ):
        if is_allowed(known, action):
            yield Check(name=name, state=State.OK, found=f"{action} is allowed")
        else:
            hint = f"grant '{role}' on the resource group, if you need it"
            yield Check(name=name, state=State.OPTIONAL, found=f"only {use} need {action}", next=hint)
