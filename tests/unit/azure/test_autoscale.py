"""Reading, copying and deleting autoscale settings, and the permissions that a copy needs."""

import pytest
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError, ServiceRequestError

from rollway.azure.autoscale import (
    check_autoscale,
    copy_autoscale,
    delete_autoscale,
    delete_autoscale_of,
    read_autoscale,
)
from rollway.azure.permissions import read_permissions
from rollway.errors import AccessDenied, AzureUnavailable, RequestRefused
from rollway.rollout.autoscale import AutoscaleSetting, setting_name
from rollway.rollout.permissions import Permission
from tests.support.builders import autoscale_document
from tests.support.fake_azure import run
from tests.support.fake_monitor import BLUE, GREEN, PERMISSIONS_URL, WORKSPACE, FakeMonitor, forbidden


@pytest.fixture
def azure() -> FakeMonitor:
    """A setting for `blue`, and one that scales something else."""
    return FakeMonitor(autoscale_document(BLUE), autoscale_document("/subscriptions/s/other", "of-others"))


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


def test_the_settings_of_an_online_deployment_that_goes_are_deleted_and_no_others() -> None:
    azure = FakeMonitor(autoscale_document(BLUE), autoscale_document(GREEN.lower(), "of-green"))

    run(delete_autoscale_of(azure.session, "diabetes", "green"))
    run(delete_autoscale_of(azure.session, "diabetes", "green"))

    assert [one for one in azure.requests if one != "list"] == ["delete rg/of-green"]
    assert set(azure.documents) == {"by-hand"}


def test_settings_that_may_not_be_read_do_not_keep_an_online_deployment_from_being_deleted(azure: FakeMonitor) -> None:
    azure.errors["list"] = forbidden()

    run(delete_autoscale_of(azure.session, "diabetes", "blue"))

    assert azure.requests == ["list"]


def test_the_check_finds_nothing_if_the_identity_may_copy(azure: FakeMonitor) -> None:
    settings, findings = run(check_autoscale(azure.session, "diabetes"))

    assert [one.name for one in settings] == ["by-hand"]
    assert findings == ()
    assert azure.requests == ["list", "list", "permissions"]


def test_the_check_reads_no_permissions_if_there_is_nothing_to_copy(azure: FakeMonitor) -> None:
    assert run(check_autoscale(azure.session, "churn")) == ((), ())
    assert azure.requests == ["list", "list"]


def test_the_check_finds_the_settings_of_all_online_deployments_of_the_endpoint_and_of_no_other() -> None:
    of_others = f"{WORKSPACE.endpoint_id('diabetes-eu')}/deployments/blue"
    documents = {"of-blue": BLUE.upper(), "of-green": GREEN, "of-eu": of_others}
    azure = FakeMonitor(*(autoscale_document(target, name) for name, target in documents.items()))

    settings, _ = run(check_autoscale(azure.session, "diabetes"))

    assert [one.name for one in settings] == ["of-blue", "of-green"]


def test_the_check_finds_a_blocker_if_the_identity_may_not_copy(azure: FakeMonitor) -> None:
    azure.permissions[PERMISSIONS_URL] = {"value": [{"actions": ["*/read"], "notActions": []}]}

    settings, (finding,) = run(check_autoscale(azure.session, "diabetes"))

    assert [one.name for one in settings] == ["by-hand"]
    assert finding.severity.value == "blocker"
    assert finding.message.startswith("by-hand scales the replaced online deployment, and the identity may not write")


def test_the_check_warns_if_the_settings_may_not_be_read(azure: FakeMonitor) -> None:
    azure.errors["list"] = forbidden()

    settings, (finding,) = run(check_autoscale(azure.session, "diabetes"))

    assert settings == ()
    assert finding.severity.value == "warning"
    assert finding.message == "they may not be read; rules of the replaced online deployment are not copied"


def test_the_check_stops_if_azure_does_not_answer(azure: FakeMonitor) -> None:
    azure.errors["list"] = ServiceRequestError("no route")

    with pytest.raises(AzureUnavailable) as caught:
        run(check_autoscale(azure.session, "diabetes"))

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
    _, (finding,) = run(check_autoscale(azure.session, "diabetes"))
    assert finding.severity.value == "warning"
    assert finding.message == "by-hand: the permissions of the identity cannot be read, so copying it may fail"
