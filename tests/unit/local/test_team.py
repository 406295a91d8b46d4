"""The programs and the variables of a team's stack."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from rollway.errors import ConfigurationError
from rollway.local import team
from rollway.local.team import TeamStack
from tests.support import pages
from tests.support.command_line import code_of
from tests.support.pages import ROOT


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is installed."""
    monkeypatch.setattr(team, "find_programs", lambda: Path("/programs"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ({"find_programs"}, "PostgreSQL"),
        ({"which"}, "redis-server"),
        ({"find_programs", "which"}, "PostgreSQL, redis-server"),
    ],
)
def test_all_missing_programs_are_named_at_once(
    missing: set[str], named: str, installed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in missing:
        monkeypatch.setattr(team if name == "find_programs" else shutil, name, lambda *_: None)

    with pytest.raises(ConfigurationError) as raised:
        TeamStack(tmp_path, lambda _: None)

    assert raised.value.what == f"not installed: {named}"
    assert raised.value.hint == "apt-get install postgresql redis-server"


def test_a_missing_package_of_python_is_named_with_its_extra(
    installed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(ConfigurationError) as raised:
        TeamStack(tmp_path, lambda _: None)

    assert raised.value.what == "not installed: prefect-redis"
    assert "pip install 'rollway[team]'" in str(raised.value.hint)


def test_a_missing_program_is_told_before_a_running_stack_is_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(team, "find_programs", lambda: None)
    monkeypatch.setattr("rollway.local.stack.stop_saved", lambda *_: pytest.fail("something is stopped"))

    assert code_of("local", "up", "--team") == 2
    assert capsys.readouterr().err.startswith("error: not installed: PostgreSQL")


def test_the_servers_have_the_settings_that_the_documentation_names(installed: None, tmp_path: Path) -> None:
    variables = TeamStack(tmp_path, lambda _: None).prefect_variables()

    told = dict(
        setting.split("=", 1)
        for line in pages.commands("docs/operations.md", "The server")
        if line.startswith("export ")
        for setting in line.removeprefix("export ").split()
    )
    addresses = {name for name in told if name.endswith("_URL")}
    assert {"PREFECT_REDIS_MESSAGING_URL", "PREFECT_SERVER_DOCKET_URL"} < addresses
    assert {name: variables.get(name) for name in told if name not in addresses} == {
        name: value for name, value in told.items() if name not in addresses
    }
    assert {variables[name][-2:] for name in ("PREFECT_REDIS_MESSAGING_URL", "PREFECT_SERVER_DOCKET_URL")} == {
        "/0",
        "/1",
    }
