"""Prefect's temporary server, for a command without a server of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    temporary_settings,
)

from rollway.errors import PrefectUnavailable
from rollway.prefect.server import require_reachable


def without_a_server(monkeypatch: pytest.MonkeyPatch, home: Path, start: Callable[[], None]) -> None:
    """Ask for a server where none is configured; `start` stands for the start of Prefect's temporary one."""
    monkeypatch.setattr(SubprocessASGIServer, "start", lambda _: start())
    changed = {PREFECT_HOME: home, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: True}
    with temporary_settings(changed, restore_defaults={PREFECT_API_URL}):
        require_reachable()


def test_without_a_server_a_temporary_one_starts_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starts: list[int] = []
    start = "· starting a temporary Prefect server, because PREFECT_API_URL is not set"

    without_a_server(monkeypatch, tmp_path, lambda: starts.append(1))
    assert capsys.readouterr().err == f"{start}; the first start creates its database and takes up to a minute\n"

    (tmp_path / "prefect.db").touch()
    without_a_server(monkeypatch, tmp_path, lambda: starts.append(1))
    assert capsys.readouterr().err == f"{start}\n"
    assert len(starts) == 2


def test_a_temporary_server_that_does_not_start_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def start() -> None:
        raise RuntimeError("Timed out\nwhile attempting to connect")

    with pytest.raises(PrefectUnavailable) as raised:
        without_a_server(monkeypatch, tmp_path, start)

    assert raised.value.what == "Prefect's temporary server did not start"
    assert raised.value.why == "Timed out while attempting to connect"
    assert "set PREFECT_API_URL" in str(raised.value.hint)
