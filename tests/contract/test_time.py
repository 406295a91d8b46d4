"""The time that the emulator tells in each response, and that Rollway takes from there."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from rollway.azure.metrics import requests_of_last_hour
from rollway.azure.session import Session
from rollway.emulator.blob.blobs import ROOT
from tests.contract.conftest import session_with
from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.plain_rest import ENDPOINT, PlainRest

DAY = timedelta(days=1)
RESOLUTION = timedelta(seconds=1)  # of an HTTP date, which is rounded down


@pytest.fixture(scope="module")
def own(own: EmulatorProcess) -> EmulatorProcess:
    """An emulator whose clock is a day ahead."""
    own.advance_clock(DAY.total_seconds())
    PlainRest(own).send("PUT", "/onlineEndpoints/diabetes", ENDPOINT).raise_for_status()
    return own


def is_ahead(at: datetime, by: timedelta, since: datetime) -> bool:
    """Return True if a time is that of a moment between `since` and now on a clock that is ahead of this machine's."""
    return since + by - RESOLUTION < at <= datetime.now(UTC) + by


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("{root}?api-version=2024-04-01", 200),
        ("{root}/onlineEndpoints/absent?api-version=2024-04-01", 404),
        ("{root}", 400),
        ("/metadata/endpoints", 200),
        ("/emulated/nowhere", 501),
        ("/_emulator/clock", 200),
        ("/inference/westeurope/diabetes/score", 401),
        (f"{ROOT}/absent/blob", 401),
    ],
)
def test_each_response_has_one_date_by_the_emulators_clock(own: EmulatorProcess, path: str, status: int) -> None:
    rest, since = PlainRest(own), datetime.now(UTC)

    answer = rest.http.get(own.url + path.format(root=rest.root))

    (date,) = answer.headers.get_list("date")
    assert answer.status_code == status
    assert is_ahead(parsedate_to_datetime(date), DAY, since)


def test_declared_faults_and_refusals_have_a_date_too(own: EmulatorProcess) -> None:
    rest, since = PlainRest(own), datetime.now(UTC)
    own.fail(path="/onlineEndpoints/diabetes$", status=503)

    fault = rest.send("GET", "/onlineEndpoints/diabetes")
    refusal = rest.http.get(f"{own.url}/", headers={"host": "elsewhere.example"})

    assert (fault.status_code, refusal.status_code) == (503, 400)
    for answer in (fault, refusal):
        assert is_ahead(parsedate_to_datetime(answer.headers["date"]), DAY, since)


def get_endpoint(session: Session) -> None:
    session.ml.online_endpoints.get("diabetes")


def get_absent_endpoint(session: Session) -> None:
    with pytest.raises(ResourceNotFoundError):
        session.ml.online_endpoints.get("absent")


def list_online_deployments(session: Session) -> None:
    assert list(session.ml.online_deployments.list("diabetes")) == []


def list_models(session: Session) -> None:
    assert list(session.ml.models.list()) == []


def read_metrics(session: Session) -> None:
    assert asyncio.run(requests_of_last_hour(session, "diabetes")) >= 0


@pytest.mark.parametrize(
    "call",
    [
        get_endpoint,
        get_absent_endpoint,
        list_online_deployments,
        list_models,
        read_metrics,
        Session.read_workspace,
        lambda session: session.patch_endpoint_tags("diabetes", {}),
    ],
)
def test_each_call_of_rollways_session_takes_azures_time(own: EmulatorProcess, call: Callable[[Session], Any]) -> None:
    with session_with(own) as session:
        before, since = session._ahead, datetime.now(UTC)
        call(session)

    assert before == timedelta()
    assert is_ahead(session.now(), DAY, since)


def test_the_time_of_the_session_moves_with_azures(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator, session_with(emulator) as session:
        PlainRest(emulator).send("PUT", "/onlineEndpoints/diabetes", ENDPOINT).raise_for_status()
        for minutes in (0, 10):
            emulator.advance_clock(60 * minutes)
            since = datetime.now(UTC)
            get_endpoint(session)

            assert is_ahead(session.now(), timedelta(minutes=minutes), since)
