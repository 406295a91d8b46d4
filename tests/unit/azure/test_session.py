"""The credentials of a session."""

import pytest
from azure.identity import ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential
from pydantic import SecretStr

from rollway.azure.session import _credential
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
