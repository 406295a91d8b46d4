"""Routing of scoring requests: by region and name to an endpoint, by header or weight to an online deployment.

The gateway may lag behind changes of weights, and behind new online deployments.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rollway.emulator.arm.endpoints import find_by_region, find_deployments
from rollway.emulator.core.errors import Document
from rollway.emulator.core.store import Resource
from rollway.emulator.scoring import errors
from rollway.emulator.state import Emulator


@dataclass(frozen=True)
class Route:
    """Routing data of one endpoint. Names of online deployments are in lower case."""

    endpoint: Resource
    deployments: Mapping[str, Resource]
    weights: Mapping[str, int]
    mirror: Mapping[str, int]

    def choose_deployment(self, pinned: str | None) -> Resource:
        """Return the online deployment for one request: the pinned one, else one at random by weight."""
        if pinned:
            found = self.deployments.get(pinned.lower())
            if found is None or not found.private.get("serving") or found.state == "Deleting":
                raise errors.no_such_deployment(pinned)
            return found
        if not self.weights:
            raise errors.no_live_deployment()
        name = random.choices(list(self.weights), list(self.weights.values()))[0]  # noqa: S311 - not a secret
        if name not in self.deployments:
            raise errors.no_live_deployment()
        return self.deployments[name]

    def choose_mirror(self, pinned: str | None) -> Resource | None:
        """Return the online deployment that gets a copy of one request, or None. Pinned requests are not mirrored."""
        if pinned:
            return None
        for name, weight in self.mirror.items():
            if random.random() * 100 < weight:  # noqa: S311 - not a secret
                return self.deployments.get(name)
        return None


class Routes:
    """A cache of all routes, cleared after every write to the store."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._known: dict[tuple[str, str], Route] = {}
        self._as_of = -1

    def find(self, region: str, name: str) -> Route:
        """Return the route to an endpoint, with the weights that the gateway knows.

        Raise the 404 if the endpoint does not exist or was not created yet.
        """
        store = self._emulator.store
        if self._as_of != store.changes:
            self._known.clear()
            self._as_of = store.changes
        key = (region.lower(), name.lower())
        if (route := self._known.get(key)) is None:
            route = self._known[key] = self._read(region, name)
        past = self._emulator.operations.views["gateway"].past(route.endpoint.id)
        return route if past is None or past.before is None else _with_weights(route, past.before)

    def check_pinned(self, deployment: Resource) -> None:
        """Raise GatewayError for a pinned request to an online deployment that is too new for the gateway.

        For a third of its lag each, the gateway has no route to it, then no instance, then no response from one.
        """
        past = self._emulator.operations.views["gateway"].past(deployment.id)
        if past is None or past.before is None or past.before.private.get("serving"):
            return
        passed = (self._emulator.clock.now() - past.since) / (past.until - past.since)
        if passed < 1 / 3:
            raise errors.no_such_deployment(deployment.name)
        raise errors.no_healthy_instance() if passed < 2 / 3 else errors.model_not_ready()

    def _read(self, region: str, name: str) -> Route:
        endpoint = find_by_region(self._emulator, region, name)
        if endpoint is None or not endpoint.private["is_created"]:
            raise errors.no_such_endpoint(name)
        deployments = {one.name.lower(): one for one in find_deployments(self._emulator, endpoint.id)}
        return _with_weights(Route(endpoint, deployments, {}, {}), endpoint)


def _with_weights(route: Route, endpoint: Resource) -> Route:
    """Return the route with the weights of an earlier or present state of its endpoint."""
    traffic, mirror = endpoint.properties["traffic"], endpoint.properties["mirrorTraffic"]
    return replace(route, weights=_positive(traffic), mirror=_positive(mirror))


def _positive(weights: Document) -> dict[str, int]:
    return {name.lower(): int(weight) for name, weight in weights.items() if weight}
