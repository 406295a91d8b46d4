"""`rollway logs`, `score` and `doctor` against the emulator, also as principals with other roles."""

import asyncio
from collections.abc import Callable

import pytest

from rollway.azure import checkup, live
from rollway.azure.checkup import check_azure
from rollway.azure.live import read_log, score_once
from rollway.azure.session import Session
from rollway.errors import NotFound
from rollway.rollout.checkup import State
from rollway.settings import DefaultIdentity
from rollway.spec import ScoringRequest
from tests.contract.conftest import Served


@pytest.fixture
def signed_in(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contributor is signed in."""

    async def sign_in(_: object) -> Session:
        return session

    monkeypatch.setattr(live, "sign_in", sign_in)


@pytest.mark.usefixtures("signed_in")
def test_an_endpoint_answers_and_its_log_shows_that_it_has_started(served: Served) -> None:
    answer = asyncio.run(score_once(served.name, ScoringRequest(document={"data": [1]}), None))
    log = asyncio.run(read_log(served.name, None, 200, "inference-server"))

    assert (answer.status, answer.served_by, log.online_deployment) == (200, "blue", "blue")
    assert answer.text
    assert log.text


@pytest.mark.usefixtures("signed_in")
def test_an_unknown_endpoint_is_an_error_that_suggests_the_known_one(served: Served) -> None:
    with pytest.raises(NotFound) as caught:
        asyncio.run(read_log(f"{served.name}x", None, 5, "inference-server"))

    assert f"did you mean {served.name!r}?" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("client_id", "roles", "metrics"),
    [
        ("contributor", State.OK, State.OK),
        ("scientist", State.OK, State.OPTIONAL),
        ("watcher", State.OK, State.OK),
        ("reader", State.MISSING, State.OK),
    ],
)
def test_the_doctor_finds_the_roles_that_are_missing(
    connect_as: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch,
    client_id: str,
    roles: State,
    metrics: State,
) -> None:
    session = connect_as(client_id)

    async def open_session(*_: object) -> Session:
        return session

    monkeypatch.setattr("rollway.azure.session.open_session", open_session)
    monkeypatch.setattr(checkup, "open_session", open_session)

    found = {one.name: one for one in asyncio.run(check_azure(session.workspace, DefaultIdentity()))}

    assert {found[name].state for name in ("credentials", "network", "access", "scoring")} == {State.OK}
    assert (found["roles"].state, found["metrics"].state) == (roles, metrics), found
