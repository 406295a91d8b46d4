"""No failure of Prefect's server ends a rollout, and none delays it for long."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from prefect.exceptions import Abort, Pause

from rollway.errors import ConfigurationError
from rollway.prefect import artifacts, best_effort
from rollway.prefect.artifacts import Progress, publish_markdown, publish_result, publish_table
from rollway.prefect.best_effort import AWAY_DEADLINE_SECONDS

RUN = uuid4()


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(best_effort, "run_logger", lambda: logging.getLogger("run"))
    return caplog


async def answer(value: Any) -> Any:
    return value


async def fail(error: BaseException) -> Any:
    raise error


def attempt(call: Coroutine[Any, Any, Any], what: str = "a label is missing", **options: Any) -> Any:
    return asyncio.run(best_effort.best_effort(what, call, **options))


def warnings(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno == logging.WARNING]


def test_a_call_that_succeeds_gives_its_answer(log: pytest.LogCaptureFixture) -> None:
    assert attempt(answer(7)) == 7
    assert warnings(log) == []


def test_a_call_that_fails_is_a_warning_that_says_what_is_lost(log: pytest.LogCaptureFixture) -> None:
    assert attempt(fail(OSError("All connection attempts failed"))) is None
    assert warnings(log) == ["Prefect did not answer, so a label is missing: All connection attempts failed"]


def test_a_call_that_hangs_ends_by_its_deadline(log: pytest.LogCaptureFixture) -> None:
    assert attempt(asyncio.Event().wait(), deadline_seconds=0.0) is None
    assert warnings(log) == ["Prefect did not answer, so a label is missing: TimeoutError"]


def test_a_call_that_ignores_its_cancellation_has_failed_too(log: pytest.LogCaptureFixture) -> None:
    async def ignore() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "released"

    assert attempt(ignore(), deadline_seconds=0.0) is None
    assert warnings(log) == ["Prefect did not answer, so a label is missing: TimeoutError"]


@pytest.mark.parametrize("signal", [Pause(), Abort(), asyncio.CancelledError(), KeyboardInterrupt()], ids=repr)
def test_signals_and_cancellations_pass_through(signal: BaseException, log: pytest.LogCaptureFixture) -> None:
    async def caught() -> BaseException | None:
        try:
            await best_effort.best_effort("a label is missing", fail(signal))
        except BaseException as error:  # noqa: BLE001
            return error
        return None

    assert asyncio.run(caught()) is signal
    assert warnings(log) == []


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The deadlines of the calls so far."""
    found: list[float | None] = []
    timeout = asyncio.timeout

    def noted(seconds: float | None) -> asyncio.Timeout:
        found.append(seconds)
        return timeout(seconds)

    monkeypatch.setattr(asyncio, "timeout", noted)
    return found


@pytest.mark.parametrize(("value", "seconds"), [(None, 10), ("240", 240)])
def test_a_variable_gives_a_slow_server_more_time(
    monkeypatch: pytest.MonkeyPatch, deadlines: list[float | None], value: str | None, seconds: float
) -> None:
    if value is not None:
        monkeypatch.setenv("ROLLWAY_PREFECT_SECONDS", value)

    attempt(answer(7))

    assert deadlines == [seconds]


def test_a_variable_that_is_wrong_is_an_error_and_no_loss(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ROLLWAY_PREFECT_SECONDS", "soon")
    call = answer(7)

    with pytest.raises(ConfigurationError, match="'soon' is not a time to wait for Prefect"):
        attempt(call, deadline_seconds=None)

    call.close()
    assert warnings(log) == []


def test_while_the_server_is_away_calls_are_short_and_each_loss_is_told_once(
    deadlines: list[float | None], log: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        attempt(fail(OSError("away")))
    attempt(fail(OSError("away")), "an artifact is missing", deadline_seconds=None)
    attempt(fail(OSError("away")), deadline_seconds=60, is_needed=True)
    attempt(answer(1))
    attempt(fail(OSError("away")))

    assert deadlines == [
        10,
        AWAY_DEADLINE_SECONDS,
        AWAY_DEADLINE_SECONDS,
        None,
        60,
        AWAY_DEADLINE_SECONDS,
        10,
    ]
    assert warnings(log) == [
        "Prefect did not answer, so a label is missing: away",
        "Prefect did not answer, so an artifact is missing: away",
        "Prefect did not answer, so a label is missing: away",
    ]


class Artifacts:
    """Artifacts of a Prefect server, which answers only while it `is_here`."""

    def __init__(self) -> None:
        self.is_here = True
        self.calls: list[tuple[str, Any]] = []
        self.made, self.known = uuid4(), list[Any]()

    async def create(self, *given: Any, **options: Any) -> UUID:
        self._note("create", given or options)
        return self.made

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read_artifacts(self, *, artifact_filter: Any, limit: int) -> list[Any]:
        self._note("find", (artifact_filter.flow_run_id.any_, artifact_filter.key.any_))
        return self.known[:limit]

    async def create_artifact(self, made: Any) -> None:
        self._note("create", (made.key, made.type, made.data, made.description, made.flow_run_id, made.task_run_id))

    async def update_artifact(self, which: UUID, changes: Any) -> None:
        self._note("update", (which, changes.data, changes.description))

    async def delete_artifact(self, which: UUID) -> None:
        self._note("delete", which)

    async def update(self, _: UUID, *, progress: float, description: str) -> None:
        self._note("update", (progress, description))

    def _note(self, what: str, given: Any) -> None:
        if not self.is_here:
            raise OSError("500 Internal Server Error")
        self.calls.append((what, given))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    server = Artifacts()
    for name in ("acreate_markdown_artifact", "acreate_table_artifact", "acreate_progress_artifact"):
        monkeypatch.setattr(artifacts, name, server.create)
    monkeypatch.setattr(artifacts, "aupdate_progress_artifact", server.update)
    monkeypatch.setattr(artifacts, "get_client", lambda: server)
    monkeypatch.setattr(artifacts, "flow_run", SimpleNamespace(id=str(RUN)))
    return server


def test_progress_ends_nothing_when_the_server_fails_and_goes_on_when_it_is_back(
    server: Artifacts, log: pytest.LogCaptureFixture
) -> None:
    async def wait() -> None:
        progress = Progress()
        server.is_here = False
        await progress.show(0.0, "requested")
        server.is_here = True
        await progress.show(10.0, "creating")
        server.is_here = False
        await progress.show(20.0, "creating")
        server.is_here = True
        await progress.show(100.0, "ready")
        await progress.remove()

    asyncio.run(wait())

    assert server.calls == [("create", (10.0,)), ("update", (100.0, "ready")), ("delete", server.made)]
    assert (
        warnings(log)
        == ["Prefect did not answer, so the progress artifact is out of date: 500 Internal Server Error"] * 2
    )


def test_the_artifact_of_a_run_is_stored_once_and_then_replaced(server: Artifacts) -> None:
    asked = ("find", ([RUN], ["rollout-my-rollout"]))

    asyncio.run(publish_result("rollout", "My rollout", "# Plan", "Plan"))
    server.known = [SimpleNamespace(id=server.made)]
    asyncio.run(publish_result("rollout", "My rollout", "# Report", "Report"))

    assert server.calls == [
        asked,
        ("create", ("rollout-my-rollout", "markdown", "# Plan", "Plan", RUN, None)),
        asked,
        ("update", (server.made, "# Report", "Report")),
    ]


def test_an_artifact_that_the_server_refuses_ends_nothing(server: Artifacts, log: pytest.LogCaptureFixture) -> None:
    server.is_here = False

    asyncio.run(publish_markdown("plan", "My rollout", "# Plan", "Plan"))
    asyncio.run(publish_table("watch-endpoints", [{"a": 1}], "Decisions"))

    assert warnings(log) == [
        "Prefect did not answer, so the artifact plan-my-rollout is missing: 500 Internal Server Error",
        "Prefect did not answer, so the artifact watch-endpoints is missing: 500 Internal Server Error",
    ]
