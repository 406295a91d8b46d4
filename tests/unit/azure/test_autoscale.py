"""Reading, copying and deleting autoscale settings, and the permissions that a copy needs."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import IO, Any, cast

import pytest
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError, ServiceRequestError

from rollway.azure.autoscale import check_autoscale, copy_autoscale, delete_autoscale, read_autoscale
from rollway.azure.permissions import read_permissions
from rollway.azure.session import Session
from rollway.errors import AccessDenied, AzureUnavailable, RequestRefused
from rollway.rollout.autoscale import AutoscaleSetting, setting_name
from rollway.rollout.permissions import Permission
from rollway.settings import Workspace
from tests.support.builders import autoscale_document
from tests.support.fake_azure import run

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
            SimpleNamespace(workspace=WORKSPACE, monitor=self, arm_url="https://arm", read_arm=self._read_arm),
        )

    def _note(self, request: str) -> None:
        self.requests.append(request)
        if error := self.errors.get(request.split(maxsplit=1)[0]):
            raise error

    def _list(self, group: str, raw_response_hook: Callable[[Any], None]) -> Iterator[object]:
        assert group == "rg"
        busy = SimpleNamespace(status_code=429, json=lambda: {"error": {"code": "TooManyRequests"}})
        raw_response_hook(SimpleNamespace(http_response=busy))
        for document in self.documents.values():
            self._note("list")
            page = {"value": [document]}
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

    def _read_arm(self, url: str) -> dict[str, Any]:
        self._note("permissions")
        return self.permissions[url]


@pytest.fixture
def azure() -> FakeMonitor:
    """A setting for `blue`, and one that scales something else."""
    return FakeMonitor(autoscale_document(BLUE), autoscale_document("/subscriptions/s/other", "of-others"))


def forbidden() -> HttpResponseError:
    error = HttpResponseError("The client does not have authorization to perform this action.")
    error.status_code = 403
    return error


def the_setting(azure: FakeMonitor) -> AutoscaleSetting:
    """The setting for `blue`; the requests so far are forgotten."""
    (found,) = run(read_autoscale(azure.session))
    azure.requests.clear()
    return found


def test_settings_of_online_deployments_are_read_from_every_page(azure: FakeMonitor) -> None:
    found = run(read_autoscale(azure.session))

    assert [(one.name, one.online_deployment) for one in found] == [("by-hand", "blue")]
    assert azure.requests == ["list", "list"]


def test_a_setting_is_copied_once(azure: FakeMonitor) -> None:
    setting = the_setting(azure)

    names = [run(copy_autoscale(azure.session, setting, "diabetes", "green")) for _ in range(2)]

    assert names == [setting_name(GREEN)] * 2
    assert azure.requests == ["list", "list", f"put rg/{setting_name(GREEN)}", "list", "list", "list"]
    assert azure.documents[setting_name(GREEN)]["properties"]["targetResourceUri"] == GREEN
    assert azure.documents["by-hand"] == autoscale_document(BLUE)


def test_a_setting_that_the_online_deployment_has_already_stays(azure: FakeMonitor) -> None:
    setting = the_setting(azure)
    azure.documents["of-somebody"] = autoscale_document(GREEN.lower(), "of-somebody")

    assert run(copy_autoscale(azure.session, setting, "diabetes", "green")) == "of-somebody"
    assert [one for one in azure.requests if one != "list"] == []


def test_a_copy_that_is_not_allowed_is_an_error(azure: FakeMonitor) -> None:
    setting = the_setting(azure)
    azure.errors["put"] = forbidden()

    with pytest.raises(AccessDenied) as caught:
        run(copy_autoscale(azure.session, setting, "diabetes", "green"))

    assert caught.value.what == "cannot copy the autoscale setting 'by-hand' for the online deployment 'green'"
    assert caught.value.where == "endpoint diabetes"


def test_a_setting_is_deleted(azure: FakeMonitor) -> None:
    run(delete_autoscale(azure.session, "by-hand"))
    run(delete_autoscale(azure.session, "by-hand"))

    assert azure.requests == ["delete rg/by-hand"] * 2
    assert "by-hand" not in azure.documents


def test_a_delete_that_is_refused_is_an_error(azure: FakeMonitor) -> None:
    azure.errors["delete"] = HttpResponseError("The resource is locked.")

    with pytest.raises(RequestRefused) as caught:
        run(delete_autoscale(azure.session, "by-hand"))

    assert caught.value.what == "cannot delete the autoscale setting 'by-hand'"
    assert caught.value.where == "resource group rg"


def test_the_check_finds_nothing_if_the_identity_may_copy(azure: FakeMonitor) -> None:
    settings, findings = run(check_autoscale(azure.session, "diabetes", "blue"))

    assert [one.name for one in settings] == ["by-hand"]
    assert findings == ()
    assert azure.requests == ["list", "list", "permissions"]


def test_the_check_reads_no_permissions_if_there_is_nothing_to_copy(azure: FakeMonitor) -> None:
    assert run(check_autoscale(azure.session, "diabetes", "red")) == ((), ())
    assert azure.requests == ["list", "list"]


def test_the_check_finds_a_blocker_if_the_identity_may_not_copy(azure: FakeMonitor) -> None:
    azure.permissions[PERMISSIONS_URL] = {"value": [{"actions": ["*/read"], "notActions": []}]}

    settings, (finding,) = run(check_autoscale(azure.session, "diabetes", "blue"))

    assert [one.name for one in settings] == ["by-hand"]
    assert finding.severity.value == "blocker"
    assert finding.message.startswith("by-hand scales the replaced online deployment, and the identity may not write")


def test_the_check_warns_if_the_settings_may_not_be_read(azure: FakeMonitor) -> None:
    azure.errors["list"] = forbidden()

    settings, (finding,) = run(check_autoscale(azure.session, "diabetes", "blue"))

    assert settings == ()
    assert finding.severity.value == "warning"
    assert finding.message == "they may not be read; rules of the replaced online deployment are not copied"


def test_the_check_stops_if_azure_does_not_answer(azure: FakeMonitor) -> None:
    azure.errors["list"] = ServiceRequestError("no route")

    with pytest.raises(AzureUnavailable) as caught:
        run(check_autoscale(azure.session, "diabetes", "blue"))

    assert caught.value.what == "cannot read the autoscale settings"


def test_permissions_are_read_from_every_page(azure: FakeMonitor) -> None:
    azure.permissions = {
        PERMISSIONS_URL: {"value": [{"actions": ["*/read"], "notActions": ["*/secret"]}], "nextLink": "https://arm/2"},
        "https://arm/2": {"value": [{"actions": ["*"]}]},
    }

    assert run(read_permissions(azure.session)) == (
        Permission(actions=("*/read",), not_actions=("*/secret",)),
        Permission(actions=("*",)),
    )


@pytest.mark.parametrize("error", [forbidden(), ResourceNotFoundError("x"), ServiceRequestError("x")])
def test_permissions_that_cannot_be_read_are_only_a_warning(azure: FakeMonitor, error: AzureError) -> None:
    azure.errors["permissions"] = error

    assert run(read_permissions(azure.session)) is None
    _, (finding,) = run(check_autoscale(azure.session, "diabetes", "blue"))
    assert finding.severity.value == "warning"
    assert finding.message == "by-hand: the permissions of the identity cannot be read, so copying it may fail"
