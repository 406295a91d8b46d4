"""Routing of scoring requests: by region and name to an endpoint, by header or weight to an online deployment."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

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
        """Return the route to an endpoint. Raise the 404 if it does not exist or was not created yet."""
        store = self._emulator.store
        if self._as_of != store.changes:
            self._known.clear()
            self._as_of = store.changes
        key = (region.lower(), name.lower())
        if (route := self._known.get(key)) is None:
            route = self._known[key] = self._read(region, name)
        return route

    def _read(self, region: str, name: str) -> Route:
        endpoint = find_by_region(self._emulator, region, name)
        if endpoint is None or not endpoint.private["is_created"]:
            raise errors.no_such_endpoint(name)
        deployments = {one.name.lower(): one for one in find_deployments(self._emulator, endpoint.id)}
        properties = endpoint.properties
        return Route(endpoint, deployments, _positive(properties["traffic"]), _positive(properties["mirrorTraffic"]))


def _positive(weights: Document) -> dict[str, int]:
    return {name.lower(): int(weight) for name, weight in weights.items() if weight}
