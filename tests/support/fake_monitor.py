"""Azure Monitor's autoscale settings in memory, behind the few calls that Rollway makes of them."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import IO, Any, cast

from azure.core.exceptions import AzureError, HttpResponseError

from rollway.azure.session import Session
from rollway.settings import Workspace
from tests.support.builders import autoscale_document

WORKSPACE = Workspace(subscription_id="s", resource_group="rg", name="ws")
BLUE, GREEN = (f"{WORKSPACE.endpoint_id('diabetes')}/deployments/{name}" for name in ("blue", "green"))
PERMISSIONS_URL = (
    "https://arm/subscriptions/s/resourceGroups/rg/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
)
MAY_ALL: dict[str, Any] = {"value": [{"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}]}


class FakeMonitor:
    """The autoscale settings of the group `rg`, in pages of one; `requests` tells every request, in order."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self.documents = {one["name"]: one for one in documents}
        self.permissions: dict[str, dict[str, Any]] = {PERMISSIONS_URL: MAY_ALL}
        self.errors: dict[str, AzureError] = {}  # by the first word of the request
        self.requests: list[str] = []
        self.autoscale_settings = SimpleNamespace(
            list_by_resource_group=self._list, create_or_update=self._put, delete=self._delete
        )

    @property
    def session(self) -> Session:
        """The session whose clients talk to this fake."""
        return cast(
            Session,
            SimpleNamespace(workspace=WORKSPACE, monitor=self, arm_url="https://arm", read_arm=self.read_arm),
        )

    def read_arm(self, url: str) -> dict[str, Any]:
        """Return a page of permissions."""
        self._note("permissions")
        return self.permissions[url]

    def _note(self, request: str) -> None:
        self.requests.append(request)
        if error := self.errors.get(request.split(maxsplit=1)[0]):
            raise error

    def _list(self, group: str, raw_response_hook: Callable[[Any], None]) -> Iterator[object]:
        assert group == "rg"
        busy = SimpleNamespace(status_code=429, json=lambda: {"error": {"code": "TooManyRequests"}})
        raw_response_hook(SimpleNamespace(http_response=busy))
        for document in self.documents.values() or [None]:
            self._note("list")
            page = {"value": [document] if document else []}
            raw_response_hook(
                SimpleNamespace(http_response=SimpleNamespace(status_code=200, json=lambda page=page: page))
            )
            yield object()

    def _put(self, group: str, name: str, body: IO[bytes]) -> None:
        self._note(f"put {group}/{name}")
        self.documents[name] = {**autoscale_document(BLUE, name), **json.load(body)}

    def _delete(self, group: str, name: str) -> None:
        self._note(f"delete {group}/{name}")
        self.documents.pop(name, None)


def forbidden() -> HttpResponseError:
    """Return the refusal of an identity that lacks a role."""
    error = HttpResponseError("The client does not have authorization to perform this action.")
    error.status_code = 403
    return error
