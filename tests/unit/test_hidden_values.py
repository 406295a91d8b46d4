"""Values of environment variables: compared, covered by the fingerprint, and shown by nothing."""

import asyncio
import contextlib
import copy
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rollway.azure import planning
from rollway.azure.folder import load_folder
from rollway.azure.state import read_online_deployment
from rollway.cli import main
from rollway.errors import RollwayError
from rollway.rollout.fingerprint import fingerprint
from rollway.rollout.moves import Kind
from rollway.rollout.plan import Plan
from rollway.rollout.request import Models, Request
from rollway.rollout.state import OnlineDeploymentState
from rollway.spec import HiddenText, OnlineDeploymentSpec, RolloutSpec
from tests.support.builders import (
    WORKSPACE,
    RolloutFolder,
    asset,
    online_deployment_spec,
    planned_rollout,
)
from tests.support.fake_azure import FakeAzure
from tests.support.secret_search import find

SECRET, OLD_SECRET = "hunter2-correct-horse", "hunter1-battery-staple"
SECRETS = {"in the file": SECRET, "in Azure": OLD_SECRET}


def test_a_hidden_text_is_compared_and_not_shown() -> None:
    one, same, other = HiddenText.of(SECRET), HiddenText.of(SECRET), HiddenText.of(OLD_SECRET)

    assert one == same != other
    assert (one.is_other(other), one.is_other(same)) == (True, False)
    assert {f"{one}", repr(one), one.model_dump_json().strip('"'), str(one.model_dump())} == {"(hidden)"}
    assert find(SECRETS, [("pickled", pickle.dumps([one, other]))]) == []


def test_what_was_read_from_json_is_no_text_any_more() -> None:
    unknown = HiddenText.model_validate_json(HiddenText.of(SECRET).model_dump_json())

    assert unknown != HiddenText.of(SECRET)
    assert unknown != HiddenText.of("(hidden)")
    assert not unknown.is_other(HiddenText.of(SECRET))
    assert not HiddenText.of(SECRET).is_other(unknown)


def test_a_plain_text_is_hidden_as_soon_as_a_model_holds_it() -> None:
    spec = online_deployment_spec(environment_variables={"PASSWORD": SECRET})

    assert spec.environment_variables == {"PASSWORD": HiddenText.of(SECRET)}


def test_another_process_can_neither_compare_nor_guess() -> None:
    code = "from rollway.spec import HiddenText; print(HiddenText.of('1').mark)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()

    assert told.startswith("hmac-sha256:")
    assert told != HiddenText.of("1").mark


@pytest.fixture
def secret_folder(folder: RolloutFolder) -> RolloutFolder:
    """A folder whose deployment.yml has a password."""
    folder.change("deployment.yml", environment_variables={"PASSWORD": SECRET})
    return folder


@pytest.fixture
def azure(secret_folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch) -> FakeAzure:
    """An endpoint that serves with another password; `rollway plan` reads it."""
    azure = FakeAzure()
    azure.have_endpoint(traffic={"blue": 100})
    azure.have("blue", environment_variables={"PASSWORD": OLD_SECRET})

    async def connected(*_: Any) -> Any:
        return SimpleNamespace(workspace=WORKSPACE)

    async def opened(*_: Any) -> Any:
        return azure.session

    async def found(*_: Any) -> Models:
        return Models(fixed=asset("model", "diabetes"))

    async def registered(_: Any, spec: RolloutSpec, *, is_dry_run: bool) -> Any:
        return asset("environment", "inference")

    async def no_rules(*_: Any) -> Any:
        return (), ()

    async def unchecked(_: Any, __: Any, ___: Any, made: Plan, *____: Any) -> Plan:
        return made

    monkeypatch.setattr(planning, "workspace_from_environment", lambda: None)
    monkeypatch.setattr(planning, "session", SimpleNamespace(connect=connected, open_session=opened))
    monkeypatch.setattr(planning, "assets", SimpleNamespace(register_environment=registered))
    monkeypatch.setattr(planning, "find_models", found)
    monkeypatch.setattr(planning, "check_autoscale", no_rules)
    monkeypatch.setattr(planning, "run_preflight", unchecked)
    return azure


@pytest.mark.parametrize("command", [["validate"], ["validate", "--json"], ["plan"], ["plan", "--json"]], ids=" ".join)
def test_no_command_shows_a_value(
    secret_folder: RolloutFolder,
    azure: FakeAzure,
    command: list[str],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with contextlib.suppress(SystemExit):
        main([*command, str(secret_folder.path)])

    told = capfd.readouterr()
    assert told.out
    places = {"stdout": told.out, "stderr": told.err, "log": caplog.text}
    assert find(SECRETS, [(name, text.encode()) for name, text in places.items()]) == []
    if command == ["plan"]:
        assert "environment_variables.PASSWORD: (hidden) -> (hidden), changed" in told.out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"*{SECRET}", "is not valid YAML: found undefined alias (line 3, column 13)"),
        (f"!{SECRET}", "is not valid YAML: could not determine a constructor for the tag (line 3, column 13)"),
        (f"!{SECRET}!x", "is not valid YAML: found undefined tag handle (line 3, column 13)"),
        (f"{SECRET}: x", "is not valid YAML: mapping values are not allowed here (line 3, column 34)"),
        ("2026-13-45", "has a date or a number that does not exist: quote it if it is text"),
    ],
    ids=["alias", "tag", "tag handle", "colon", "date"],
)
def test_a_password_that_breaks_the_yaml_is_not_shown(folder: RolloutFolder, line: str, message: str) -> None:
    folder.write("deployment.yml", f"name: main\nenvironment_variables:\n  PASSWORD: {line}\n")

    with pytest.raises(RollwayError) as caught:
        load_folder(str(folder.path))

    assert f"deployment.yml: {message}" in str(caught.value)
    assert find(SECRETS, [("error", str(caught.value).encode())]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"environment_variables": [SECRET]},
        {"environment_variables": SECRET},
        {"environment_variable": {"PASSWORD": SECRET}},
        {"environment_variables": {"PASSWORD": SECRET}, "instance_count": 0},
        {"environment_variables": {"PASSWORD": {"deep": SECRET}}, "instance_count": 0},
    ],
    ids=["a list", "a text", "a misspelt key", "another problem", "a mapping"],
)
def test_an_invalid_file_is_described_without_values(folder: RolloutFolder, changes: dict[str, Any]) -> None:
    folder.change("deployment.yml", **changes)

    with pytest.raises(RollwayError) as caught:
        load_folder(str(folder.path))

    assert find(SECRETS, [("error", f"{caught.value} {caught.value!r} {caught.value.details}".encode())]) == []


def everything_of(value: Any) -> bytes:
    return f"{value} {value!r} {value.model_dump()} {value.model_dump_json()}".encode()


def test_spec_state_and_plan_hide_values_in_every_form(secret_folder: RolloutFolder, azure: FakeAzure) -> None:
    spec = load_folder(str(secret_folder.path))
    state = asyncio.run(read_online_deployment(azure.session, "diabetes", "blue"))
    assert state is not None
    made = asyncio.run(planning.plan_rollout(Request(folder=str(secret_folder.path))))
    texts = [(type(one).__name__, everything_of(one)) for one in (spec, state, made)]

    assert find(SECRETS, [*texts, ("copy", everything_of(copy.deepcopy(spec)))]) == []
    assert state.environment_variables == {"PASSWORD": HiddenText.of(OLD_SECRET)}
    (created,) = [one for one in made.moves if one.kind is Kind.CREATE]
    assert ("environment_variables.PASSWORD", "(hidden)") in [(one.field, one.today) for one in created.changes]


def test_json_is_the_same_in_every_process_and_keeps_the_fingerprint(secret_folder: RolloutFolder) -> None:
    spec = load_folder(str(secret_folder.path)).online_deployment
    stored = OnlineDeploymentSpec.model_validate_json(spec.model_dump_json())

    assert stored.model_dump_json() == spec.model_dump_json()
    assert '"environment_variables":{"PASSWORD":"(hidden)"}' in stored.model_dump_json()
    assert fingerprint(stored, "m", "e") == fingerprint(spec, "m", "e")


def test_the_state_says_which_variables_there_are(azure: FakeAzure) -> None:
    azure.have("green", environment_variables={"A": 1, "B": None})

    state: OnlineDeploymentState | None = asyncio.run(read_online_deployment(azure.session, "diabetes", "green"))

    assert state is not None
    assert state.environment_variables == {"A": HiddenText.of("1")}
    assert "environment_variables" not in state.settings


def test_headers_of_the_smoke_test_are_hidden_and_a_plan_can_still_send_them(
    folder: RolloutFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    folder.change("rollout.yml", smoke_test={"request_file": "request.json", "headers": {"X-Key": SECRET}})
    spec = load_folder(str(folder.path))

    planned = planned_rollout(spec)

    assert [one.headers["X-Key"].get_secret_value() for one in planned.spec.smoke_requests] == [SECRET]
    forms = [spec, spec.rollout, planned, copy.deepcopy(spec)]
    assert find(SECRETS, [(type(one).__name__, everything_of(one)) for one in forms]) == []
    with contextlib.suppress(SystemExit):
        main(["validate", "--json", str(folder.path)])
    assert find(SECRETS, [("stdout", capfd.readouterr().out.encode())]) == []
