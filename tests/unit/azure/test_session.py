"""The credentials of a session, and its time."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from azure.identity import ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential
from pydantic import SecretStr

from rollway.azure.session import STUDIOS, Session, WorkspaceFacts, _credential
from rollway.errors import CredentialsRejected
from rollway.settings import DefaultIdentity, Identity, ManagedIdentity, ServicePrincipal, Workspace

PRINCIPAL = ServicePrincipal(tenant_id="tenant", client_id="client", client_secret=SecretStr("hush"))


@pytest.mark.parametrize(
    ("identity", "kind"),
    [
        (DefaultIdentity(), DefaultAzureCredential),
        (ManagedIdentity(), ManagedIdentityCredential),
        (ManagedIdentity(client_id="client"), ManagedIdentityCredential),
        (PRINCIPAL, ClientSecretCredential),
    ],
)
def test_each_kind_of_identity_has_its_credential(identity: Identity, kind: type) -> None:
    assert type(_credential(identity)) is kind


def test_a_malformed_service_principal_is_an_error_that_names_the_block() -> None:
    with pytest.raises(CredentialsRejected) as caught:
        _credential(PRINCIPAL.model_copy(update={"tenant_id": "not a tenant"}))

    assert caught.value.what == "the credentials in the Prefect block cannot be used"
    assert "tenant" in str(caught.value.why)
    assert "hush" not in str(caught.value)


def test_a_malformed_tenant_in_the_environment_is_an_error_that_names_the_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("TENANT_ID", "not a tenant"), ("CLIENT_ID", "client"), ("CLIENT_SECRET", "hush")):
        monkeypatch.setenv(f"AZURE_{name}", value)

    with pytest.raises(CredentialsRejected) as caught:
        _credential(DefaultIdentity())

    assert caught.value.what == "the credentials in the environment cannot be used"
    assert "AZURE_TENANT_ID" in str(caught.value.where)


def test_a_changed_secret_is_another_identity_and_never_part_of_the_address() -> None:
    changed = PRINCIPAL.model_copy(update={"client_secret": SecretStr("hush hush")})
    address = Workspace(subscription_id="sub", resource_group="rg", name="ws", block="production")

    assert hash(changed) != hash(PRINCIPAL)
    assert changed != PRINCIPAL
    assert "hush" not in repr(PRINCIPAL) + address.model_dump_json()


def facts(resource_manager: str, **changes: Any) -> WorkspaceFacts:
    """Facts about a workspace of the cloud with this host."""
    return WorkspaceFacts(
        workspace=Workspace(subscription_id="sub", resource_group="r(g)", name="ws"),
        region="westeurope",
        public_network_access="Enabled",
        isolation_mode="Disabled",
        studio=STUDIOS.get(resource_manager),
        **changes,
    )


@pytest.mark.parametrize(
    ("resource_manager", "studio"),
    [
        ("management.azure.com", "ml.azure.com"),
        ("management.usgovcloudapi.net", "ml.azure.us"),
        ("management.chinacloudapi.cn", "studio.ml.azure.cn"),
    ],
)
def test_an_endpoint_has_a_page_in_the_studio_of_its_cloud(resource_manager: str, studio: str) -> None:
    workspace = "/subscriptions/sub/resourceGroups/r%28g%29/providers/Microsoft.MachineLearningServices/workspaces/ws"
    page = f"https://{studio}/endpoints/realtime/diabetes/detail?wsid={workspace}"

    assert facts(resource_manager).studio_page("diabetes") == page
    assert facts(resource_manager, tenant_id="t").studio_page("diabetes") == f"{page}&tid=t"


def test_a_private_cloud_has_no_studio() -> None:
    assert facts("localhost", tenant_id="t").studio_page("diabetes") is None


@pytest.fixture
def session() -> Session:
    """A session that makes no request."""
    return Session(Workspace(subscription_id="sub", resource_group="rg", name="ws"), PRINCIPAL)


def answer(**headers: str) -> Any:
    """Return what azure-core gives to `raw_response_hook`."""
    return SimpleNamespace(http_response=SimpleNamespace(headers=headers))


def ahead(session: Session) -> timedelta:
    """Return the time by which Azure's clock is ahead of this machine's, without the time of this test."""
    return timedelta(seconds=round((session.now() - datetime.now(UTC)).total_seconds()))


def says(offset: timedelta) -> Any:
    return answer(Date=format_datetime(datetime.now(UTC) + offset, usegmt=True))


@pytest.mark.parametrize("offset", [timedelta(days=1), timedelta(hours=-3), timedelta(seconds=30)])
def test_the_time_is_that_of_azures_last_answer(session: Session, offset: timedelta) -> None:
    session._note_time(says(timedelta(days=400)))
    session._note_time(says(offset))

    assert abs(ahead(session) - offset) <= timedelta(seconds=1)
    assert session.now().tzinfo is UTC


@pytest.mark.parametrize("offset", [timedelta(seconds=-0.5), timedelta(0), timedelta(seconds=1.5)])
def test_less_than_two_seconds_are_no_difference(session: Session, offset: timedelta) -> None:
    session._note_time(says(timedelta(days=1)))
    session._note_time(says(offset))

    assert session._ahead == timedelta()


@pytest.mark.parametrize("headers", [{}, {"Date": "yesterday"}, {"Date": ""}])
def test_an_answer_without_a_date_changes_nothing(session: Session, headers: dict[str, str]) -> None:
    session._note_time(says(timedelta(days=1)))
    session._note_time(answer(**headers))

    assert abs(ahead(session) - timedelta(days=1)) <= timedelta(seconds=1)


def test_a_date_without_a_time_zone_is_in_utc(session: Session) -> None:
    session._note_time(answer(Date=f"{datetime.now(UTC) + timedelta(days=1):%a, %d %b %Y %H:%M:%S} -0000"))

    assert abs(ahead(session) - timedelta(days=1)) <= timedelta(seconds=1)
