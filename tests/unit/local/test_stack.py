"""The ports and the variables of a local stack."""

import json
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from rollway.errors import ConfigurationError
from rollway.local.stack import SCALE, Stack, require_free
from tests.support.pages import ROOT


def test_a_port_in_use_is_named_with_another_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"port {port} cannot be used") as raised:
            require_free(port)

    assert "in use" in str(raised.value.why)
    assert f"PORT={port + 1}" in str(raised.value.hint)


def test_a_free_port_passes() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    require_free(port)


def test_a_database_that_the_shell_names_is_not_that_of_the_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
    monkeypatch.setenv(name, "postgresql+asyncpg://prefect@db.internal/prefect")
    stack = Stack(tmp_path, lambda _: None)

    assert stack.prefect_variables()[name] == f"sqlite+aiosqlite:///{tmp_path}/prefect/prefect.db"

    stack.database_url = "postgresql+asyncpg://postgres@127.0.0.1:1/own"
    assert stack.prefect_variables()[name] == stack.database_url


def test_the_variables_are_those_of_the_emulator_that_was_started_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = iter(("first", "second"))
    monkeypatch.setattr(
        "rollway.local.stack.subprocess.run",
        lambda *_, **__: SimpleNamespace(stdout=json.dumps({"AZURE_AUTHORITY_HOST": next(answers)})),
    )
    monkeypatch.setattr(Stack, "_start", lambda *_: None)
    stack = Stack(tmp_path, lambda _: None)

    seen = []
    for _ in range(2):
        stack.start_emulator()
        seen += [stack.environment()["AZURE_AUTHORITY_HOST"] for _ in range(2)]

    assert seen == ["first", "first", "second", "second"], "it is asked once for each"


def test_the_batches_of_the_server_are_those_of_the_documentation(tmp_path: Path) -> None:
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    variables = Stack(tmp_path, lambda _: None).prefect_variables()

    assert SCALE.items() <= variables.items()
    assert [name for name, value in SCALE.items() if f"`{name}={value}`" not in page] == []
