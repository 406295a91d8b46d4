"""The workspace block: what its fields mean, and what must be filled in."""

import asyncio

import pytest
from pydantic import SecretStr

from rollway.errors import ConfigurationError
from rollway.prefect.blocks import AzureMLWorkspace, load_workspace_block
from rollway.settings import DefaultIdentity, Identity, ManagedIdentity, ServicePrincipal

ADDRESS = {"subscription_id": "sub", "resource_group": "rg", "workspace": "ws"}
PRINCIPAL = {"tenant_id": "tenant", "client_id": "client", "client_secret": "hush"}


def block(**fields: str) -> AzureMLWorkspace:
    return AzureMLWorkspace.model_validate({**ADDRESS, **fields})


@pytest.mark.parametrize(
    ("fields", "identity"),
    [
        ({}, DefaultIdentity()),
        ({"identity": "managed identity"}, ManagedIdentity()),
        ({"identity": "managed identity", "client_id": "client"}, ManagedIdentity(client_id="client")),
        (
            {"identity": "service principal", **PRINCIPAL},
            ServicePrincipal(tenant_id="tenant", client_id="client", client_secret=SecretStr("hush")),
        ),
    ],
)
def test_each_kind_of_identity_takes_its_own_fields(fields: dict[str, str], identity: Identity) -> None:
    assert block(**fields).as_whom() == identity
    assert block(**fields).missing() == []


def test_the_address_names_the_block_and_holds_no_secret() -> None:
    address = block(identity="service principal", **PRINCIPAL).address("production")

    assert address.model_dump() == {
        "subscription_id": "sub",
        "resource_group": "rg",
        "name": "ws",
        "block": "production",
    }


async def load(monkeypatch: pytest.MonkeyPatch, saved: AzureMLWorkspace | Exception) -> str:
    async def aload(name: str) -> AzureMLWorkspace:
        if isinstance(saved, Exception):
            raise saved
        return saved

    monkeypatch.setattr(AzureMLWorkspace, "aload", aload)
    with pytest.raises(ConfigurationError) as caught:
        await load_workspace_block("production")
    return str(caught.value)


def test_all_empty_fields_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = asyncio.run(load(monkeypatch, block(identity="service principal", workspace="", client_id="client")))

    assert text.startswith("the Prefect block azureml-workspace/production is incomplete\n")
    assert "workspace, tenant_id, client_secret: empty" in text


def test_a_block_that_is_not_there_is_named_with_the_way_to_make_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = asyncio.run(load(monkeypatch, ValueError("Unable to find block document\n  named production")))

    assert text.startswith("the Prefect block azureml-workspace/production cannot be loaded\n")
    assert "Unable to find block document named production" in text
    assert "prefect block register -m rollway.prefect.blocks" in text
