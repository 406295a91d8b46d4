"""Mistakes on the command line, in the environment, and with servers that are away or in the way."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollway.prefect.server import require_reachable
from tests.support.builders import RolloutFolder
from tests.support.command_line import code_of
from tests.support.mistakes import Mistake, answer_to, assert_explained
from tests.unit.test_cli import plain

__all__ = ["plain"]

LINE = "command line"
AWAY = "http://127.0.0.1:9/api"  # the port "discard", on which nothing listens
WORKSPACE = ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZUREML_WORKSPACE")
LONG_SECRET = {"ROLLWAY_WEBHOOK_SECRET": "s" * 32}

ON_THE_LINE = [
    Mistake("misspelt a command", "validat x", 'Did you mean "validate"?', LINE, "rollway --help"),
    Mistake("invented a command", "frobnicate", "Available commands", LINE, "rollway --help"),
    Mistake("misspelt an option", "plan x --markdwn", "Did you mean --markdown?", LINE, "rollway plan --help"),
    Mistake("named no folder", "plan", "requires an argument", LINE, "rollway plan --help"),
    Mistake("gave an option no value", "plan x --model-version", "--model-version", LINE, "rollway plan --help"),
    Mistake("gave too much traffic", "deploy x --weight 101", '"101" for --weight', LINE, "rollway deploy --help"),
    Mistake("gave no traffic", "deploy x --weight 0", '"0" for --weight', LINE, "rollway deploy --help"),
    Mistake("wrote a weight as a word", "deploy x --weight ten", '"ten"', LINE, "rollway deploy --help"),
    Mistake("gave a reference as a version", "plan x --model-version azureml:m:7", "such as 7", LINE, "plan --help"),
    Mistake("asked as nobody", "deploy x --requested-by nobody", '"person", "schedule"', LINE, "deploy --help"),
    Mistake("promoted nothing", "promote", "requires an argument", LINE, "rollway promote --help"),
    Mistake("chose an impossible port", "webhook --port 99999", "99999", LINE, "rollway webhook --help"),
    Mistake("misspelt a part", "emulator upp", "upp", LINE, "--help"),
    Mistake("invented a profile", "emulator up --profile slow", "use 'instant', 'azure'", LINE, "emulator up --help"),
    Mistake("named no seed", "emulator up --seed nope.yml", "nope.yml", LINE, "correct it"),
    Mistake("opened it to all", "emulator up --host 0.0.0.0", "--public-name", LINE, "correct it"),
]
IN_THE_ENVIRONMENT = [
    Mistake("set no workspace", "plan {folder}", "no Azure ML workspace", "AZURE_SUBSCRIPTION_ID", "emulator up"),
    Mistake(
        "forgot the resource group",
        "plan {folder}",
        "they are not set",
        "variables AZURE_RESOURCE_GROUP",
        "set them to your workspace",
        variables={"AZURE_SUBSCRIPTION_ID": "s", "AZUREML_WORKSPACE": "w"},
    ),
    Mistake("has no webhook secret", "webhook", "it is not set", "ROLLWAY_WEBHOOK_SECRET", "openssl rand"),
    Mistake(
        "chose a short secret",
        "webhook",
        "fewer than 16 characters",
        "ROLLWAY_WEBHOOK_SECRET",
        "openssl rand",
        variables={"ROLLWAY_WEBHOOK_SECRET": "short"},
    ),
    Mistake(
        "has no Prefect server for the webhook",
        "webhook",
        "no Prefect server is configured",
        "PREFECT_API_URL",
        "http://127.0.0.1:4200/api",
        variables=LONG_SECRET,
    ),
    Mistake("has no server for alerts", "alerts", "no Prefect server", "PREFECT_API_URL", "such as http://127.0.0.1"),
    Mistake("started no emulator", "emulator env", "no emulator runs", "--state .rollway", "rollway emulator up"),
    Mistake(
        "misspelt the folder of folders",
        "deploy x",
        "no folder",
        "deploments",
        "create one",
        variables={"ROLLWAY_DEPLOYMENTS": "deploments"},
    ),
]


@pytest.fixture(autouse=True)
def checkout(folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder above deployments/, where commands are typed; no workspace and no Prefect server is configured."""
    root = folder.path.parents[1]
    monkeypatch.chdir(root)
    for name in WORKSPACE:
        monkeypatch.delenv(name, raising=False)
    return root


@pytest.fixture
def prefect_is_never_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preparing Prefect fails the test."""
    monkeypatch.setattr("rollway.cli.configure_prefect", lambda: pytest.fail("Prefect is started"))


@pytest.mark.parametrize("mistake", [*ON_THE_LINE, *IN_THE_ENVIRONMENT], ids=str)
def test_a_mistake_in_a_command_is_explained(
    mistake: Mistake,
    folder: RolloutFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    prefect_is_never_started: None,
) -> None:
    mistake.prepare(folder, monkeypatch)

    assert_explained(mistake, answer_to(mistake.arguments(folder.path), capsys))


@pytest.mark.parametrize("command", ["deploy", "rollback"])
def test_an_invalid_folder_is_explained_before_anything_starts(
    command: str, folder: RolloutFolder, capsys: pytest.CaptureFixture[str], prefect_is_never_started: None
) -> None:
    folder.change("rollout.yml", strategy="canary")
    mistake = Mistake("broke the folder", f"{command} {{folder}}", "canary", "rollout.yml", "rollway validate")

    assert_explained(mistake, answer_to(mistake.arguments(folder.path), capsys))


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of loopback on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("command", "what", "to_do", "code"),
    [
        ("webhook --port", "the webhook cannot start", "choose another --host or --port", 1),
        ("local up --port", "cannot be used for the Prefect server", "make up PORT=", 2),
        ("emulator up --port", "the local Azure ML cannot start", "choose another port", 1),
    ],
)
def test_a_port_in_use_is_named(
    command: str,
    what: str,
    to_do: str,
    code: int,
    taken: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("rollway.prefect.trigger.require_server", lambda: None)
    monkeypatch.setattr("rollway.event_grid.webhook.make_server", lambda _: pytest.fail("it listens"))
    mistake = Mistake("used a port twice", f"{command} {taken}", what, "127.0.0.1", to_do, code, variables=LONG_SECRET)
    for name, value in LONG_SECRET.items():
        monkeypatch.setenv(name, value)

    assert_explained(mistake, answer_to(mistake.command.split(), capsys))


@pytest.mark.parametrize("command", ["deploy {folder}", "rollback {folder}", "promote diabetes", "alerts"])
def test_a_prefect_server_that_is_away_is_named(
    command: str, folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - takes a second

    monkeypatch.setattr("rollway.prefect.server.require_reachable", require_reachable)
    mistake = Mistake("stopped Prefect", command, "does not answer", f"PREFECT_API_URL={AWAY}", "prefect server", 1)

    with temporary_settings({PREFECT_API_URL: AWAY}):
        assert_explained(mistake, answer_to(mistake.arguments(folder.path), capsys))


class EmptyPrefect:
    """A Prefect server without Prefect deployments and blocks."""

    async def __aenter__(self) -> "EmptyPrefect":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read_deployments(self, **_: object) -> list[object]:
        return []

    async def read_block_documents(self, **_: object) -> list[object]:
        return []


@pytest.mark.parametrize("arguments", ["alerts", "alerts --channel team-ml"])
def test_a_channel_that_prefect_does_not_have_is_named(
    arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - takes a second

    monkeypatch.setattr("rollway.prefect.automations.get_client", EmptyPrefect)
    monkeypatch.setattr("rollway.prefect.automations.server.require_reachable", lambda: None)
    channel = arguments.rsplit(maxsplit=1)[-1].replace("alerts", "rollway-alerts")
    what, where = f"no notification block '{channel}'", "rollout.yml: alerts.channel, or --channel"
    mistake = Mistake("forgot the channel", arguments, what, where, "create it in the UI under Blocks")

    with temporary_settings({PREFECT_API_URL: AWAY}):
        assert_explained(mistake, answer_to(arguments.split(), capsys))


def test_a_workspace_block_that_is_not_there_is_named(
    folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rollway.prefect.blocks import AzureMLWorkspace  # noqa: PLC0415 - takes a second

    async def refuse(name: str) -> None:
        raise ValueError(f"Unable to find block document named {name}")

    monkeypatch.setattr(AzureMLWorkspace, "aload", refuse)
    monkeypatch.setenv("ROLLWAY_WORKSPACE_BLOCK", "nope")
    mistake = Mistake("misspelt a block", "plan {folder}", "nope", "ROLLWAY_WORKSPACE_BLOCK", "prefect block register")

    assert_explained(mistake, answer_to(mistake.arguments(folder.path), capsys))


@pytest.mark.parametrize("arguments", ["status", "abort diabetes"])
def test_a_workspace_block_that_cannot_be_read_because_prefect_is_away_is_explained(
    folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    from prefect.settings import (  # noqa: PLC0415 - takes a second
        PREFECT_API_URL,
        PREFECT_CLIENT_MAX_RETRIES,
        temporary_settings,
    )

    monkeypatch.setenv("ROLLWAY_WORKSPACE_BLOCK", "production")
    what, hint = "block azureml-workspace/production cannot be read", "unset ROLLWAY_WORKSPACE_BLOCK, and set AZURE_"
    mistake = Mistake("forgot the server", arguments, what, f"PREFECT_API_URL={AWAY}", hint, 1)

    with temporary_settings({PREFECT_API_URL: AWAY, PREFECT_CLIENT_MAX_RETRIES: 0}):
        assert_explained(mistake, answer_to(mistake.arguments(folder.path), capsys))


def test_stopping_what_does_not_run_is_no_error_and_says_what_starts_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("local", "down") == 0
    assert capsys.readouterr().out == "nothing is running here; `make up` starts it\n"
