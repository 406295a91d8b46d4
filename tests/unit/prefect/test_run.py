"""A run's attempt id, timeline, failed task, labels and name."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.exceptions import Abort, Pause, PrefectSignal
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from rollway.errors import RollwayError
from rollway.prefect import best_effort, run
from rollway.prefect.labels import CAUSE, FAILED_TASK, NEXT, STARTED
from rollway.prefect.run import Run, current_run, rename_run, title
from rollway.prefect.waiting import Woken
from rollway.rollout.entries import Command, Order, time_text
from rollway.rollout.moves import Kind
from rollway.rollout.record import EndpointRecord, OnlineDeploymentRecord
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset
from tests.support.builders import rollout_spec
from tests.support.runs import SlowServer, a_run, attempt, run_after


@pytest.mark.parametrize(
    ("version", "weight", "is_dry_run", "expected"),
    [
        ("7", 100, False, "diabetes · model 7"),
        ("7", 10, False, "diabetes · model 7 · canary 10 %"),
        ("7", 10, True, "diabetes · model 7 · canary 10 % · dry run"),
        (None, 100, False, "diabetes"),
    ],
)
def test_a_run_is_named_after_what_it_rolls_out(
    version: str | None, weight: int, is_dry_run: bool, expected: str
) -> None:
    assert title("diabetes", version, weight=weight, is_dry_run=is_dry_run) == expected


def woken_after(seconds: float, now: datetime, waited_for: str) -> Woken:
    return Woken(now - timedelta(seconds=seconds), now - timedelta(seconds=seconds), waited_for)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> SlowServer:
    server = SlowServer()
    monkeypatch.setattr(run, "get_client", lambda: server)
    return server


def test_an_attempt_is_named_after_its_flow_run_and_its_number() -> None:
    flow_run = str(uuid4())

    assert Run(flow_run, 2).attempt_id == f"{flow_run}/2"


def test_the_flow_and_its_tasks_share_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    flow_run = str(uuid4())
    monkeypatch.setattr(run, "flow_run", SimpleNamespace(id=flow_run, run_count=1))
    first = current_run()
    assert current_run() is first
    monkeypatch.setattr(run, "flow_run", SimpleNamespace(id=flow_run, run_count=2))

    assert current_run() is not first
    assert (first.attempt_id, current_run().attempt_id) == (f"{flow_run}/1", f"{flow_run}/2")


@pytest.mark.parametrize(
    ("waited_for", "is_owner"),
    [(Kind.WAIT_UNTIL_READY.value, False), (Kind.BAKE.value, True)],
    ids=["provisioning", "a bake"],
)
def test_a_woken_run_began_with_its_first_attempt_and_owns_the_steps_in_which_it_waited(
    waited_for: str, is_owner: bool
) -> None:
    now, began = datetime(2026, 1, 2, 12, tzinfo=UTC), datetime(2026, 1, 2, 11, tzinfo=UTC)

    woken = Run(str(uuid4()), 2).start(rollout_spec(), now, Woken(began, began, waited_for))
    fresh = Run(str(uuid4()), 1).start(rollout_spec(), now)

    assert (woken.started, woken.is_woken, woken.owned) == (began, True, is_owner)
    assert (fresh.started, fresh.is_woken, fresh.owned) == (now, False, False)


def test_the_start_of_the_work_is_a_label_that_the_next_attempt_reads(server: SlowServer) -> None:
    async def work(woken: Woken | None) -> None:
        one, now = a_run(), datetime(2026, 1, 2, 12, tzinfo=UTC)
        server.is_free.set()
        one.label(model="diabetes:1")
        await one.labels_written()
        one.start(rollout_spec(), now, woken)
        one.label(model="diabetes:2")
        await one.labels_written()

    asyncio.run(work(None))
    asyncio.run(work(Woken(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, 11, tzinfo=UTC), Kind.BAKE.value)))

    assert [one.get(STARTED) for one in server.labels] == [
        None,
        "2026-01-02T12:00:00.000+00:00",
        None,
        "2026-01-02T11:00:00.000+00:00",
    ], "not before it is read"


def test_people_are_told_once_that_a_run_waits_for_them_and_again_after_a_retry(
    monkeypatch: pytest.MonkeyPatch, server: SlowServer
) -> None:
    began, retried = datetime(2026, 1, 2, 11, tzinfo=UTC), datetime(2026, 1, 2, 12, tzinfo=UTC)
    given: list[tuple[int, datetime, Woken | None]] = [
        (1, began, None),
        (2, retried, Woken(began, began, Kind.GATE.value)),
        (3, retried, None),
    ]
    flow_run = str(uuid4())

    async def ask(attempt: int, now: datetime, woken: Woken | None) -> list[bool]:
        server.is_free.set()
        monkeypatch.setattr(run, "flow_run", SimpleNamespace(id=flow_run, run_count=attempt))
        current_run().start(rollout_spec(), now, woken)
        return [await run.is_news("1 a person must confirm"), await run.is_news("1 a person must confirm")]

    assert [asyncio.run(ask(*one)) for one in given] == [[True, False], [False, False], [True, False]]


def test_a_retry_does_not_obey_what_the_attempt_before_it_was_told() -> None:
    flow_run, now = str(uuid4()), datetime.now(UTC)
    woken, retry = Run(flow_run, 3), Run(flow_run, 3)
    woken.start(rollout_spec(), now, woken_after(600, now, Kind.WAIT_UNTIL_READY.value))
    retry.start(rollout_spec(), now)

    def told(seconds: float) -> Command:
        return Command(order=Order.ABORT, by="ann", at=time_text(now + timedelta(seconds=seconds)))

    assert [[one.obeys(told(seconds)) for seconds in (-700, -300, 60)] for one in (woken, retry)] == [
        [False, True, True],
        [False, False, True],
    ]


@pytest.mark.parametrize(
    ("waited_for", "seconds"), [(Kind.WAIT_UNTIL_READY.value, 480), (Kind.BAKE.value, None)], ids=["ready", "a bake"]
)
def test_only_a_run_that_waited_for_its_online_deployment_learns_that_it_was_faster(
    waited_for: str, seconds: int | None
) -> None:
    flow_run, now = str(uuid4()), datetime(2026, 1, 2, 12, tzinfo=UTC)
    created = OnlineDeploymentRecord().created(f"{flow_run}/1", now.isoformat())
    made = OnlineDeploymentState(name="blue", provisioning_state="Succeeded", instance_count=1, tags=created.tags())
    known = EndpointRecord(provisioning_seconds=600)
    one = Run(flow_run, 2)
    one.start(rollout_spec(), now, woken_after(600, now, waited_for))

    one.look(EndpointState(name="diabetes", tags=known.tags(), online_deployments=(made,)), now, frozenset())

    assert one.facts.provisioning_seconds == seconds


def test_the_time_without_a_process_counts_for_the_deadline_of_what_the_run_itself_created() -> None:
    flow_run, now = str(uuid4()), datetime.now(UTC)
    created = OnlineDeploymentRecord().created(f"{flow_run}/1", (now - timedelta(seconds=570)).isoformat())
    made = OnlineDeploymentState(name="blue", provisioning_state="Creating", instance_count=1, tags=created.tags())
    woken, fresh, other = Run(flow_run, 2), Run(flow_run, 2), Run(str(uuid4()), 2)
    for one in (woken, other):
        one.start(rollout_spec(), now, woken_after(600, now, Kind.WAIT_UNTIL_READY.value))
    fresh.start(rollout_spec(), now)

    assert woken.waited_without_process(made) == pytest.approx(570, abs=60)
    assert [one.waited_without_process(made) for one in (fresh, other)] == [0, 0]
    assert woken.waited_without_process(None) == 0


def test_a_retry_that_recovered_is_not_the_failed_task(server: SlowServer) -> None:
    one = run_after(
        server,
        ("connect", RollwayError("no network")),
        ("connect", None),
        ("smoke test", RollwayError("status 500")),
    )

    assert one.failed_task == "smoke test"
    assert [(entry.name, entry.is_completed) for entry in one.timeline] == [
        ("connect", False),
        ("connect", True),
        ("smoke test", False),
    ]
    assert server.labels[-1][FAILED_TASK] == "smoke test"
    assert server.labels[-1][CAUSE].startswith("status 500")


def test_of_tasks_that_failed_side_by_side_the_first_one_counts(server: SlowServer) -> None:
    one = run_after(
        server,
        ("resolve model", RollwayError("there is no such model")),
        ("register environment", RollwayError("a later error")),
    )

    assert one.failed_task == "resolve model"
    assert server.labels[-1][CAUSE].startswith("there is no such model")


def test_a_run_whose_tasks_all_recovered_has_no_failed_task_and_no_cause(server: SlowServer) -> None:
    one = run_after(server, ("connect", RollwayError("no network")), ("connect", None), ("plan", None))

    assert one.failed_task is None
    assert (server.labels[-1][FAILED_TASK], server.labels[-1][CAUSE], server.labels[-1][NEXT]) == ("", "", "")


def test_a_cancelled_task_is_the_failed_one_and_does_not_wait_for_the_server(server: SlowServer) -> None:
    async def cancel() -> Run:
        one = a_run()
        await attempt(one, "wait until ready", asyncio.CancelledError())
        server.is_free.set()
        await one.labels_written()
        return one

    assert asyncio.run(cancel()).failed_task == "wait until ready"
    assert server.labels[-1][FAILED_TASK] == "wait until ready"


def test_a_server_that_is_silent_delays_the_end_of_a_run_only_a_little(
    server: SlowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LABELS_WAIT_SECONDS", 0.0)

    async def end() -> None:
        one = a_run()
        one.label(model="diabetes:1")
        await one.labels_written()

    asyncio.run(end())

    assert server.labels == []


@pytest.mark.parametrize("signal", [Pause(), Abort()], ids=repr)
def test_a_task_that_prefect_stops_with_a_signal_has_not_failed(signal: PrefectSignal, server: SlowServer) -> None:
    async def stop() -> Run:
        one = a_run()
        server.is_free.set()
        with pytest.raises(type(signal)):
            await attempt(one, "wait for the next look", signal)
        await one.labels_written()
        return one

    assert asyncio.run(stop()).failed_task is None


def test_a_run_keeps_its_name_if_the_server_does_not_take_the_new_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> Any:
        raise OSError("no server")

    parameters = {"rollout": "deployments/diabetes/"}
    monkeypatch.setattr(run, "flow_run", SimpleNamespace(id=str(uuid4()), run_count=1, tags=[], parameters=parameters))
    monkeypatch.setattr(run, "get_client", refuse)
    monkeypatch.setattr(best_effort, "run_logger", lambda: logging.getLogger("run"))

    model = ResolvedAsset(id=None, name="diabetes", version="7")

    assert asyncio.run(rename_run(model)) == "diabetes · model 7"
    assert caplog.messages == ["Prefect did not answer, so this run keeps its name and tags: no server"]


def test_labels_do_not_delay_the_run_and_the_last_ones_are_written(server: SlowServer) -> None:
    async def label_three_times() -> None:
        one = a_run()
        for model in ("first", "second", "third"):
            one.label(model=model)
            await asyncio.sleep(0)
        assert server.labels == [], "the server has not answered yet, and nobody waits for it"
        server.is_free.set()
        await one.labels_written()

    asyncio.run(label_three_times())

    assert server.labels[-1]["rollway.model"] == "third"
    assert len(server.labels) == 2, "labels set in the meantime are one write"


def test_a_server_that_refuses_labels_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> Any:
        raise OSError("no server")

    monkeypatch.setattr(run, "run_logger", lambda: logging.getLogger("run"))
    monkeypatch.setattr(run, "get_client", refuse)

    async def label() -> None:
        one = a_run()
        one.label(model="diabetes:1")
        await one.labels_written()

    asyncio.run(label())

    assert "Alerts about this run will be out of date: no server" in caplog.text


@pytest.mark.parametrize(
    ("ui", "shown"),
    [("http://ui.example", "http://ui.example/runs/flow-run/1"), (None, None)],
    ids=["own", "temporary"],
)
def test_a_run_has_a_page_unless_its_server_is_temporary(
    monkeypatch: pytest.MonkeyPatch, ui: str | None, shown: str | None
) -> None:
    monkeypatch.setattr(run, "flow_run", SimpleNamespace(id="1"))

    with temporary_settings({PREFECT_UI_URL: ui, PREFECT_API_URL: None}):
        assert run.run_url() == shown
