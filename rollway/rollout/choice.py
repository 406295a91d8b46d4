"""The online deployment that a person means."""

from typing import Literal

from rollway.errors import NotFound
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.spec import did_you_mean

Container = Literal["inference-server", "storage-initializer"]


def choose(endpoint: EndpointState, name: str | None) -> OnlineDeploymentState:
    """Return the online deployment of that name; without a name the one with most traffic, or else the only one.

    Raises NotFound.
    """
    behind = endpoint.online_deployments
    known = sorted(one.name for one in behind)
    if name is not None:
        if found := endpoint.online_deployment(name):
            return found
        hint = f"it has {', '.join(known) or 'none'}{did_you_mean(name, known)}"
        where = f"endpoint {endpoint.name}"
        raise NotFound(f"there is no online deployment {name!r}", where=where, hint=hint)
    serving = endpoint.behind(endpoint.traffic)
    if serving or len(behind) == 1:
        return (serving or behind)[0]
    raise nothing_serves(endpoint)


def nothing_serves(endpoint: EndpointState) -> NotFound:
    """Return the error for an endpoint without traffic."""
    known = sorted(one.name for one in endpoint.online_deployments)
    hint = f"name one with --online-deployment: {', '.join(known)}" if known else "roll a version out first"
    return NotFound("nothing serves yet", where=f"endpoint {endpoint.name}", hint=hint)
