"""azure-ai-ml without the requests that Rollway does not need: its pollers and its repeated reads.

Rollway waits with its own poller (`rollway.azure.waiting`) and reads what it needs itself. Beside that, the SDK would
poll every operation in a thread of its own, read the workspace before each PUT, the endpoint before each PUT of an
online deployment, and all online deployments with each endpoint. Its lists take the pages that Azure makes. The SDK has
no option for any of them, so this module replaces attributes of azure-ai-ml 1.35.2:
operations/_online_endpoint_operations.py, _online_deployment_operations.py, _model_operations.py.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from azure.ai.ml import MLClient
from azure.core.exceptions import HttpResponseError
from azure.core.polling import NoPolling

PAGE = 200  # `count` of Online Endpoints - List and Model Containers - List


@dataclass(frozen=True)
class Accepted:
    """A write that Azure has accepted.

    Attributes:
        operation: Address of the operation that it started. Nothing else tells why an update of an online deployment
            failed. The address is signed, so it belongs into no log.
    """

    operation: str | None = None


class _Accepting(NoPolling[Any]):
    """A polling method that only keeps the address of the operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.accepted = Accepted()

    def initialize(self, _: Any, initial_response: Any, deserialization_callback: Callable[[Any], Any]) -> None:
        super().initialize(_, initial_response, deserialization_callback)
        self.accepted = Accepted(initial_response.http_response.headers.get("Azure-AsyncOperation"))


class Unpolled:
    """A generated client whose `begin_` methods return once Azure has accepted the request; no thread is started."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not name.startswith("begin_"):
            return found

        @functools.wraps(found)
        def begin(*args: Any, **kwargs: Any) -> Accepted:
            polling = _Accepting()
            found(*args, **{**kwargs, "polling": polling})
            return polling.accepted

        return begin


class _InLargePages:
    """A generated client whose `list` asks for large pages; Azure decides how large they are."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def list(self, **kwargs: Any) -> Any:
        """Return the pages; the SDK follows their links."""
        return self._client.list(**{"count": PAGE, **kwargs})


class _EndpointsInLargePages(_InLargePages):
    """The generated client of endpoints. If Azure refuses the size of the pages, they have Azure's own."""

    def list(self, **kwargs: Any) -> Iterator[Any]:
        """Return the endpoints; the SDK does nothing with the pages but to go through them."""
        found = iter(super().list(**kwargs))
        try:
            first = list(itertools.islice(found, 1))
        except HttpResponseError as error:
            if error.status_code != 400:
                raise
            yield from self._client.list(**kwargs)
            return
        yield from first
        yield from found


class _KnownEndpoint:
    """The generated client that an SDK call asks whether the endpoint exists; Azure refuses the PUT if it does not."""

    def get(self, **_: Any) -> None:
        """Return without a request."""


class _NoList:
    """The generated client that an SDK call asks for the online deployments with weight 0, to show them as such."""

    def list(self, **_: Any) -> tuple[()]:
        """Return nothing, without a request."""
        return ()


def without_extra_requests(client: MLClient, read_region: Callable[[], str]) -> MLClient:
    """Change the client so that each call for endpoints and online deployments is one request; return it.

    Writes return when Azure has accepted them, and the traffic of an endpoint has no entries of weight 0. Uploads and
    other assets of an online deployment still make their own requests. Lists of endpoints and models have large pages.

    Args:
        read_region: Returns the region of the workspace, which Azure wants in every PUT.
    """
    endpoints: Any = client.online_endpoints
    online_deployments: Any = client.online_deployments
    models: Any = client.models
    endpoints._online_operation = Unpolled(_EndpointsInLargePages(endpoints._online_operation))
    models._model_container_operation = _InLargePages(models._model_container_operation)
    endpoints._online_deployment_operation = _NoList()
    online_deployments._online_deployment = Unpolled(online_deployments._online_deployment)
    online_deployments._online_endpoint_operations = _KnownEndpoint()
    endpoints._get_workspace_location = online_deployments._get_workspace_location = read_region
    return client
