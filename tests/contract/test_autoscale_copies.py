"""Autoscale settings through Rollway's own adapter."""

import asyncio
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest

from rollway.azure.autoscale import check_autoscale, copy_autoscale, delete_autoscale, read_autoscale
from rollway.azure.session import Session
from rollway.errors import AccessDenied
from rollway.rollout.autoscale import AutoscaleSetting, setting_name, settings_of
from tests.support.builders import autoscale_document
from tests.support.emulator_process import EmulatorProcess

PAGE = 50


@pytest.fixture
def put(session: Session, endpoint_id: str) -> Iterator[Callable[..., None]]:
    """Creates settings as a person would, and deletes all settings of the endpoint after the test."""

    def write(name: str, target: str, measured: tuple[str, ...] = (), **properties: Any) -> None:
        body = BytesIO(json.dumps(autoscale_document(target, name, measured, **properties)).encode())
        session.monitor.autoscale_settings.create_or_update("rollway", name, body)

    yield write
    for one in find_all(session, endpoint_id):
        asyncio.run(delete_autoscale(session, one.name))


@pytest.fixture
def endpoint_id(session: Session, name: str) -> str:
    """The id of an endpoint; no setting asks whether there is one."""
    return session.workspace.endpoint_id(name)


def find_all(session: Session, endpoint_id: str) -> list[AutoscaleSetting]:
    """The settings of all online deployments of an endpoint."""
    found = asyncio.run(read_autoscale(session))
    return [one for one in found if one.target_id.startswith(f"{endpoint_id}/")]


def find(session: Session, endpoint_id: str, online_deployment: str) -> AutoscaleSetting:
    """The one setting of an online deployment."""
    (found,) = settings_of(asyncio.run(read_autoscale(session)), endpoint_id, online_deployment)
    return found


def test_rules_follow_from_one_online_deployment_to_the_next(
    session: Session, put: Callable[..., None], endpoint_id: str, name: str
) -> None:
    blue, green = (f"{endpoint_id}/deployments/{one}" for one in ("blue", "green"))
    put(name, blue, (blue, endpoint_id))
    before = find(session, endpoint_id, "blue")

    names = [asyncio.run(copy_autoscale(session, before, name, "green")) for _ in range(2)]
    copy = find(session, endpoint_id, "green")
    original = find(session, endpoint_id, "blue")
    for _ in range(2):
        asyncio.run(delete_autoscale(session, name))

    assert original == before
    assert names == [copy.name] * 2 == [setting_name(green)] * 2
    assert (copy.minimum, copy.maximum, copy.default, copy.is_enabled) == (2, 5, 3, True)
    assert (copy.location, copy.tags) == (before.location, before.tags)
    profiles = json.dumps(before.properties["profiles"]).replace(f'"{blue}"', f'"{green}"')
    assert copy.properties["profiles"] == json.loads(profiles)
    assert settings_of(asyncio.run(read_autoscale(session)), endpoint_id, "blue") == ()


def test_a_profile_keeps_its_local_time(
    session: Session, put: Callable[..., None], endpoint_id: str, name: str
) -> None:
    blue = f"{endpoint_id}/deployments/blue"
    fixed = {"timeZone": "Pacific Standard Time", "start": "2026-12-24T00:00:00", "end": "2026-12-26T23:59:00"}
    (profile,) = autoscale_document(blue)["properties"]["profiles"]
    put(name, blue, profiles=[{**profile, "fixedDate": fixed}])

    asyncio.run(copy_autoscale(session, find(session, endpoint_id, "blue"), name, "green"))

    copy: Any = find(session, endpoint_id, "green").properties["profiles"]
    assert copy[0]["fixedDate"] == fixed


def test_settings_are_read_beyond_the_first_page(
    session: Session, put: Callable[..., None], endpoint_id: str, name: str
) -> None:
    wanted = {f"number-{number}" for number in range(PAGE + 1)}
    for one in wanted:
        put(f"{name}-{one}", f"{endpoint_id}/deployments/{one}")

    assert {one.online_deployment for one in find_all(session, endpoint_id)} == wanted


def test_a_copy_whose_answer_is_lost_is_written_again(
    session: Session, emulator: EmulatorProcess, put: Callable[..., None], endpoint_id: str, name: str
) -> None:
    put(name, f"{endpoint_id}/deployments/blue")
    emulator.fail(method="PUT", path="(?i)autoscalesettings", drop="after", count=1)

    copy = asyncio.run(copy_autoscale(session, find(session, endpoint_id, "blue"), name, "green"))

    requests = [one for one in emulator.get("requests") if one["method"] == "PUT" and one["path"].endswith(f"/{copy}")]
    assert len(requests) == 2
    assert find(session, endpoint_id, "green").name == copy


def test_a_reader_sees_the_settings_and_cannot_copy_them(
    session: Session, connect_as: Callable[..., Session], put: Callable[..., None], endpoint_id: str, name: str
) -> None:
    put(name, f"{endpoint_id}/deployments/blue")
    reader = connect_as("reader")

    with pytest.raises(AccessDenied) as caught:
        asyncio.run(copy_autoscale(reader, find(reader, endpoint_id, "blue"), name, "green"))

    assert caught.value.what == f"cannot copy the autoscale setting {name!r} for the online deployment 'green'"
    assert caught.value.code == "AuthorizationFailed"
    assert settings_of(asyncio.run(read_autoscale(session)), endpoint_id, "green") == ()


def test_an_identity_without_a_role_gets_a_warning(connect_as: Callable[..., Session], name: str) -> None:
    settings, (finding,) = asyncio.run(check_autoscale(connect_as("stranger"), name))

    assert settings == ()
    assert finding.severity.value == "warning"
    assert finding.message == "they may not be read; rules of the replaced online deployment are not copied"


def test_a_contributor_may_copy(session: Session, put: Callable[..., None], endpoint_id: str, name: str) -> None:
    put(name, f"{endpoint_id}/deployments/blue")

    settings, findings = asyncio.run(check_autoscale(session, name))

    assert [one.name for one in settings] == [name]
    assert findings == ()
