"""Roles, and the permissions that a principal reads with plain REST and with azure-mgmt-authorization."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.ai.ml import MLClient

from rollway.emulator.core.roles import is_allowed
from rollway.emulator.core.seed import Role
from tests.contract.conftest import Arm, Served, create_endpoint
from tests.support.emulator_process import EmulatorProcess
from tests.support.other_clients import OtherClient, authorization_client

ML = "Microsoft.MachineLearningServices/workspaces"
AUTOSCALE = "Microsoft.Insights/autoscalesettings"
METRICS = "Microsoft.Insights/metrics/read"
Permissions = Callable[..., Any]


@pytest.fixture
def permissions(arm: Arm, token: Callable[..., str]) -> Permissions:
    """The permissions that a principal has on the resource group, or on a resource in it."""

    def read(client_id: str, resource: str = "") -> Any:
        group = arm.root.partition("/providers/")[0]
        url = f"{arm.url}{group}{resource}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
        answer = arm.http.get(url, headers={"Authorization": f"Bearer {token(client_id=client_id)}"})
        return answer.raise_for_status().json()["value"]

    return read


@pytest.fixture(scope="module")
def authorization(emulator: EmulatorProcess) -> Iterator[OtherClient]:
    """The client of Azure's own authorization API."""
    client = authorization_client(emulator.environment)
    yield client
    client.close()


def test_the_management_client_reads_the_permissions_on_a_group_and_on_a_resource(authorization: OtherClient) -> None:
    on_group = authorization("permissions.list_for_resource_group", "rollway")
    provider, parent = "Microsoft.MachineLearningServices", "workspaces/local"
    on_endpoint = authorization(
        "permissions.list_for_resource", "rollway", provider, parent, "onlineEndpoints", "diabetes"
    )
    on_workspace = authorization("permissions.list_for_resource", "rollway", provider, "", "workspaces", "local")

    assert on_group == on_endpoint == on_workspace
    assert on_group[0]["actions"] == ["*"]
    assert "Microsoft.Authorization/*/Write" in on_group[0]["notActions"]


def test_each_role_has_its_own_permissions(permissions: Permissions) -> None:
    (scientist,) = permissions("scientist")

    assert f"{ML}/*/write" in scientist["actions"]
    assert f"{ML}/write" in scientist["notActions"]
    assert permissions("reader") == [{"actions": ["*/read"], "notActions": [], "dataActions": [], "notDataActions": []}]
    assert permissions("stranger") == []


def test_permissions_are_read_on_an_autoscale_setting_and_need_a_token(arm: Arm, permissions: Permissions) -> None:
    setting = f"/providers/{AUTOSCALE}/any"
    url = f"{arm.url}{arm.root}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"

    without = arm.http.get(url, headers={"Authorization": ""})

    assert permissions("reader", setting) == permissions("reader")
    assert (without.status_code, without.json()["error"]["code"]) == (401, "AuthenticationFailed")


def test_a_data_scientist_creates_endpoints_and_sees_the_operation_end(
    connect: Callable[..., MLClient], name: str
) -> None:
    assert create_endpoint(connect("scientist"), name).provisioning_state == "Succeeded"


@pytest.mark.parametrize(
    ("client_id", "method", "tail", "action"),
    [
        ("reader", "PUT", "/any", f"{AUTOSCALE}/write"),
        ("reader", "DELETE", "/any", f"{AUTOSCALE}/delete"),
        ("scientist", "PUT", "/any", f"{AUTOSCALE}/write"),
        ("scientist", "GET", "/any", f"{AUTOSCALE}/read"),
        ("scientist", "GET", "", f"{AUTOSCALE}/read"),
        ("stranger", "GET", "", f"{AUTOSCALE}/read"),
    ],
)
def test_autoscale_settings_need_their_own_right(
    arm: Arm, token: Callable[..., str], client_id: str, method: str, tail: str, action: str
) -> None:
    path = f"{arm.root.partition('/providers/')[0]}/providers/{AUTOSCALE}{tail}"
    bearer = f"Bearer {token(client_id=client_id)}"

    answer = arm.http.request(method, f"{arm.url}{path}?api-version=2022-10-01", headers={"Authorization": bearer})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (403, "AuthorizationFailed")
    assert f"to perform action '{action}' over scope '{path}'" in error["message"]


@pytest.mark.parametrize(
    ("client_id", "status"), [("scientist", 403), ("stranger", 403), ("reader", 200), ("watcher", 200)]
)
@pytest.mark.parametrize("tail", ["", "/deployments/blue"])
def test_metrics_need_their_own_right(
    arm: Arm, token: Callable[..., str], served: Served, client_id: str, status: int, tail: str
) -> None:
    path = f"{arm.root}/onlineEndpoints/{served.name}{tail}/providers/Microsoft.Insights/metrics"
    bearer = f"Bearer {token(client_id=client_id)}"

    answer = arm.http.get(f"{arm.url}{path}?api-version=2024-02-01", headers={"Authorization": bearer})

    assert answer.status_code == status
    if status == 403:
        error = answer.json()["error"]
        assert error["code"] == "AuthorizationFailed"
        assert f"to perform action '{METRICS}' over scope '{path}'" in error["message"]


def test_a_principal_with_two_roles_has_the_rights_of_both(
    connect: Callable[..., MLClient], permissions: Permissions, name: str
) -> None:
    assert create_endpoint(connect("watcher"), name).provisioning_state == "Succeeded"
    assert {action for one in permissions("watcher") for action in one["actions"]} >= {
        f"{ML}/*/write",
        "*/read",
    }


@pytest.mark.parametrize(
    ("role", "action", "expected"),
    [
        (Role.CONTRIBUTOR, f"{AUTOSCALE}/write", True),
        (Role.CONTRIBUTOR, "Microsoft.Authorization/roleAssignments/write", False),
        (Role.DATA_SCIENTIST, f"{ML}/read", True),
        (Role.DATA_SCIENTIST, f"{ML}/write", False),
        (Role.DATA_SCIENTIST, f"{ML}/onlineEndpoints/deployments/write", True),
        (Role.DATA_SCIENTIST, f"{ML}/onlineEndpoints/score/action".lower(), True),
        (Role.DATA_SCIENTIST, f"{ML}/computes/x/write", False),
        (Role.READER, f"{AUTOSCALE}/read", True),
        (Role.READER, f"{ML}/onlineEndpoints/listKeys/action", False),
        (Role.MONITORING_READER, METRICS, True),
        (Role.MONITORING_READER, f"{ML}/read", True),
        (Role.MONITORING_READER, f"{ML}/onlineEndpoints/write", False),
        (Role.DATA_SCIENTIST, METRICS, False),
        (Role.NONE, f"{ML}/read", False),
    ],
)
def test_a_role_allows_its_actions_except_its_not_actions(role: Role, action: str, expected: bool) -> None:
    assert is_allowed((role,), action) is expected
