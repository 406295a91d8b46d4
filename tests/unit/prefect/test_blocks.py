"""The workspace block: what its fields mean, and what must be filled in."""

import asyncio
from json import JSONDecodeError

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from pydantic import SecretStr

from rollway.errors import ConfigurationError, PrefectUnavailable
from rollway.prefect.blocks import AzureMLWorkspace, find_workspace, load_identity, load_workspace_block
from rollway.settings import DefaultIdentity, Identity, ManagedIdentity, ServicePrincipal, Workspace

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


class Saved:
    """A Prefect server; `answer` is what it says when the block is read: a block, or an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: AzureMLWorkspace | Exception = block(identity="managed identity", client_id="first")
        monkeypatch.setattr(AzureMLWorkspace, "aload", self._aload)

    async def _aload(self, name: str) -> AzureMLWorkspace:
        assert name == "production"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> Saved:
    """The block `production`."""
    return Saved(monkeypatch)


IN_PRODUCTION = Workspace(subscription_id="sub", resource_group="rg", name="ws", block="production")
FIRST, SECOND = ManagedIdentity(client_id="first"), ManagedIdentity(client_id="second")


def identity(*, is_known_enough: bool = False) -> Identity:
    return asyncio.run(load_identity(IN_PRODUCTION, is_known_enough=is_known_enough))


def test_a_block_cannot_be_read_without_a_server_and_a_task_tries_again() -> None:
    away = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}

    with temporary_settings(away), pytest.raises(PrefectUnavailable) as caught:
        asyncio.run(find_workspace("production"))

    assert caught.value.retryable
    assert caught.value.what.startswith("the Prefect block azureml-workspace/production cannot be read")
    assert (caught.value.where, caught.value.why) == (
        "PREFECT_API_URL=http://127.0.0.1:9/api",
        "All connection attempts failed",
    )
    assert "unset ROLLWAY_WORKSPACE_BLOCK" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "error",
    [OSError("refused"), JSONDecodeError("a page of the proxy", "<html>", 0), TimeoutError()],
    ids=lambda one: type(one).__name__,
)
def test_a_run_goes_on_with_the_block_that_it_has_while_prefect_is_away(
    saved: Saved, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    assert identity() == FIRST
    saved.answer = error

    assert [identity(), identity(is_known_enough=True)] == [FIRST, FIRST]
    assert asyncio.run(find_workspace("production")) == (IN_PRODUCTION, FIRST)
    (warning,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert "Prefect did not answer, so the block production is used as it was loaded last" in warning

    saved.answer = block(identity="managed identity", client_id="second")
    assert identity() == SECOND, "a changed block counts as soon as Prefect answers"


@pytest.mark.parametrize(
    "answer", [ValueError("Unable to find block document"), block(workspace="")], ids=["deleted", "emptied"]
)
def test_a_block_that_somebody_takes_away_ends_a_run_but_no_abort(
    saved: Saved, answer: AzureMLWorkspace | Exception
) -> None:
    assert identity() == FIRST
    saved.answer = answer

    with pytest.raises(ConfigurationError, match="azureml-workspace/production"):
        identity()
    assert identity(is_known_enough=True) == FIRST


def test_an_abort_in_a_process_that_knows_no_block_cannot_sign_in(saved: Saved) -> None:
    saved.answer = ValueError("Unable to find block document")

    with pytest.raises(ConfigurationError):
        identity(is_known_enough=True)
