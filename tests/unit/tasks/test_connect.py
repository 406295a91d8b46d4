"""Sessions of tasks whose workspace and identity come from a Prefect block."""

import asyncio
from typing import Any

import pytest

from rollway.azure import session
from rollway.prefect import best_effort, blocks
from rollway.prefect.blocks import AzureMLWorkspace, find_workspace
from rollway.settings import Identity, ManagedIdentity, Workspace
from tasks import abort, connect
from tests.unit.tasks.test_abort import SMOKE, Failing

BLOCK = AzureMLWorkspace(
    subscription_id="0", resource_group="rg", workspace="ws", identity="managed identity", client_id="client"
)


@pytest.mark.parametrize(
    "error",
    [OSError("All connection attempts failed"), ValueError("Unable to find block document")],
    ids=["Prefect is away", "the block is gone"],
)
def test_traffic_goes_back_to_stable_although_the_block_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    failing, identities, answers = Failing(monkeypatch, caplog), list[Identity](), [BLOCK]

    async def aload(_: str) -> AzureMLWorkspace:
        if not answers:
            raise error
        return answers.pop()

    async def open_session(_: Workspace, identity: Identity) -> Any:
        identities.append(identity)
        return failing.azure.session

    monkeypatch.setattr(best_effort, "_lost", set())
    monkeypatch.setattr(blocks, "_loaded", {})
    monkeypatch.setattr(AzureMLWorkspace, "aload", aload)
    monkeypatch.setattr(session, "open_session", open_session)
    monkeypatch.setattr(abort, "open_session", connect.open_session)
    workspace, _ = asyncio.run(find_workspace("production"))
    failing.run.rollout = failing.run.rollout.model_copy(update={"workspace": workspace})
    failing.moves_traffic()

    assert failing(SMOKE) is SMOKE

    assert failing.azure.traffic == {"blue": 100}
    assert identities == [ManagedIdentity(client_id="client")]
