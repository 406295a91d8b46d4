"""Routes of a container: the paths and ports on which it is probed and scores (`inference_config`)."""

from dataclasses import dataclass
from typing import Any

SERVER_PORT = 5001  # of Microsoft's inference server


@dataclass(frozen=True)
class Route:
    """A path and a port in the container, which the container's own network gives it in Azure."""

    path: str
    port: int


@dataclass(frozen=True)
class Routes:
    """The routes of a container. Without an `inference_config`, they are those of Microsoft's inference server."""

    liveness: Route = Route("/", SERVER_PORT)
    readiness: Route = Route("/", SERVER_PORT)
    scoring: Route = Route("/score", SERVER_PORT)
    startup: Route = Route("/", SERVER_PORT)

    @classmethod
    def from_document(cls, document: dict[str, Any] | None) -> "Routes":
        """Return the routes of an environment's `inferenceConfig`. The default startup route is the liveness route.

        Raises ValueError for a document that `problems_of` reports.
        """
        document = document or {}
        if problems := problems_of(document):
            raise ValueError(problems[0])
        named = {name: _route(document.get(f"{name}Route")) for name in ("liveness", "readiness", "scoring", "startup")}
        liveness = named["liveness"] or cls.liveness
        return cls(
            liveness,
            named["readiness"] or cls.readiness,
            named["scoring"] or cls.scoring,
            named["startup"] or liveness,
        )

    @property
    def ports(self) -> tuple[int, ...]:
        """The different ports, with the scoring port first."""
        routes = (self.scoring, self.liveness, self.readiness, self.startup)
        return tuple(dict.fromkeys(route.port for route in routes))


def problems_of(document: dict[str, Any]) -> list[str]:
    """Return what is wrong with an `inferenceConfig`, in words."""
    problems = []
    for name, route in document.items():
        if not name.endswith("Route") or route is None:
            continue
        path, port = (route.get("path"), route.get("port")) if isinstance(route, dict) else (None, None)
        if not isinstance(path, str) or not path.startswith("/") or not path.isprintable():
            problems.append(f"{name}.path must be a path that begins with '/'.")
        if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
            problems.append(f"{name}.port must be a port between 1 and 65535.")
    return problems


def _route(document: dict[str, Any] | None) -> Route | None:
    return None if document is None else Route(document["path"], document["port"])
