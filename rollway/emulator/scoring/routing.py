"""Where a scoring request goes: the endpoint by region and name, the online deployment by weight or by header."""

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
    """What the gateway knows of an endpoint. Names of online deployments are in lower case."""

    endpoint: Resource
    deployments: Mapping[str, Resource]
    weights: Mapping[str, int]
    mirror: Mapping[str, int]

    def choose_deployment(self, pinned: str | None) -> Resource:
        """The online deployment for one request: the one named in its header, else at random by weight."""
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
        """The online deployment that gets a copy of one request, if one does; pinned requests are not copied."""
        if pinned:
            return None
        for name, weight in self.mirror.items():
            if random.random() * 100 < weight:  # noqa: S311 - not a secret
                return self.deployments.get(name)
        return None


class Routes:
    """The routes of all endpoints, read again only after something has been written."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._known: dict[tuple[str, str], Route] = {}
        self._as_of = -1

    def find(self, region: str, name: str) -> Route:
        """The route of the endpoint of that name; raises the 404 while there is none."""
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
