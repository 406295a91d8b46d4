"""Credentials, network and access, as far as signing in tells."""

from types import SimpleNamespace
from typing import Any

import pytest

from rollway.azure import checkup
from rollway.azure.checkup import check_azure
from rollway.azure.session import WorkspaceFacts
from rollway.errors import AccessDenied, AzureUnavailable, CredentialsRejected, NotFound, RollwayError
from rollway.rollout.checkup import Check, State
from rollway.rollout.permissions import Permission
from rollway.settings import DefaultIdentity
from tests.support.builders import WORKSPACE
from tests.support.fake_azure import run


def checks(monkeypatch: pytest.MonkeyPatch, answer: RollwayError | dict[str, Any]) -> dict[str, Check]:
    """The checks of a workspace that answers so to a sign-in."""

    async def connect(*_: object) -> WorkspaceFacts:
        if isinstance(answer, RollwayError):
            raise answer
        facts = {"public_network_access": "Enabled", "isolation_mode": "Disabled", **answer}
        return WorkspaceFacts(workspace=WORKSPACE, region="westeurope", **facts)

    async def open_session(*_: object) -> Any:
        return SimpleNamespace(arm_url="https://arm")

    async def read_permissions(_: object, resource_id: str) -> tuple[Permission, ...]:
        assert resource_id.endswith("/workspaces/ws")
        return (Permission(actions=("*",)),)

    for name, call in (("connect", connect), ("open_session", open_session), ("read_permissions", read_permissions)):
        monkeypatch.setattr(checkup, name, call)
    return {one.name: one for one in run(check_azure(WORKSPACE, DefaultIdentity()))}


@pytest.mark.parametrize(
    ("error", "failed", "known"),
    [
        (CredentialsRejected("cannot reach it", hint="az login"), "credentials", set()),
        (AzureUnavailable("cannot reach it", hint="check"), "network", set()),
        (AccessDenied("cannot reach it", hint="a role"), "access", {"credentials", "network"}),
        (NotFound("cannot reach it", hint="a name"), "access", {"credentials", "network"}),
    ],
)
def test_the_first_thing_that_is_missing_is_named_and_what_comes_after_it_is_unknown(
    monkeypatch: pytest.MonkeyPatch, error: RollwayError, failed: str, known: set[str]
) -> None:
    found = checks(monkeypatch, error)

    assert found.keys() == {"credentials", "network", "access", "roles"}
    assert (found[failed].state, found[failed].next) == (State.MISSING, error.hint)
    assert {name for name, one in found.items() if one.state is State.OK} == known
    assert all(one.state is State.UNKNOWN for name, one in found.items() if name not in {failed, *known})


@pytest.mark.parametrize(("access", "state"), [("Enabled", State.OK), ("Disabled", State.OPTIONAL)])
def test_a_workspace_without_public_access_says_where_scoring_works(
    monkeypatch: pytest.MonkeyPatch, access: str, state: State
) -> None:
    found = checks(monkeypatch, {"public_network_access": access})

    assert found.pop("scoring").state is state
    assert {one.state for one in found.values()} == {State.OK}
