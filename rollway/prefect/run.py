"""The current flow run: its attempt id, timeline, failed task, labels and name."""

import asyncio
import contextlib
import functools
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectSignal
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from rollway.prefect.arrows import Arrows
from rollway.prefect.best_effort import best_effort, run_logger
from rollway.prefect.labels import CAUSE, ENDPOINT, FAILED_TASK, HELD, LABELS, NEXT, STARTED, TASK
from rollway.prefect.waiting import Woken
from rollway.reports.dossier import cause_and_next_action
from rollway.reports.timeline import TaskTime
from rollway.rollout.entries import Command, time_text
from rollway.rollout.facts import Facts, Look
from rollway.rollout.moves import Kind, Move
from rollway.rollout.plan import facts_after
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.predictions import Comparison
from rollway.rollout.provision import seconds_without_process
from rollway.rollout.smoke import SmokeTestResult, work_seconds
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset
from rollway.rollout.wanted import RequestedBy
from rollway.settings import Workspace, lease_seconds, rollout_name
from rollway.spec import RolloutSpec

LABELS_WAIT_SECONDS = 5.0
# SQLite refuses an update that another write overtakes, and Prefect's client then tries again: labels that change
# shortly after each other are one update.
LABELS_PAUSE_SECONDS = 1.0


class Run:
    """One attempt of a flow run, in the process that executes it.

    Labels are written to the Prefect server in the background, so that a slow or absent server does not delay the
    rollout; `labels_written` waits for them, for a short time.
    """

    def __init__(self, flow_run_id: str, attempt: int) -> None:
        self.attempt_id = f"{flow_run_id}/{attempt}"  # as in tags in Azure
        self.flow_run_id = flow_run_id
        self._began = datetime.now(UTC)
        self.arrows = Arrows()
        self._timeline: list[TaskTime] = []
        # All labels are written every time: those of an earlier attempt must go.
        self._labels = dict.fromkeys(LABELS, "")
        self._writing: asyncio.Task[None] | None = None
        self._write_now = asyncio.Event()
        self.facts = Facts(attempt=self.attempt_id)
        self.workspace: Workspace | None = None
        self.studio_page: str | None = None
        self.endpoint: EndpointState | None = None  # as the last decision saw it
        self.rollout: PlannedRollout | None = None
        self.tags: set[str] = set()
        self.moves: list[Move] = []
        self.has_moved_traffic = False  # or has tried to
        self.last_move: Move | None = None
        self.smoke_tests: list[SmokeTestResult] = []
        self._operations: dict[str, str] = {}
        self._lease_since = 0.0

    @property
    def timeline(self) -> tuple[TaskTime, ...]:
        """Every try of a task that has ended, in the order in which they ended."""
        return tuple(self._timeline)

    @property
    def failed_task(self) -> str | None:
        """Name of the task that failed first; a task whose later try succeeded does not count."""
        last_tries = {one.name: one for one in self._timeline}.values()
        failed = [one for one in last_tries if not one.is_completed]
        return min(failed, key=lambda one: one.ended).name if failed else None

    @contextlib.asynccontextmanager
    async def trying(self, task: str) -> AsyncIterator[None]:
        """Record one try of a task in the timeline and in the labels."""
        started = datetime.now(UTC)
        self._label({TASK: task})
        try:
            yield
        except BaseException as error:
            self._end(task, started, is_completed=isinstance(error, PrefectSignal))  # a signal stops the run, healthy
            if self.failed_task == task and isinstance(error, Exception):  # a cancellation cannot wait for the server
                cause, next_action = cause_and_next_action(error)
                self._label({CAUSE: cause, NEXT: next_action})
                await self.labels_written()
            raise
        self._end(task, started, is_completed=True)

    @property
    def has_promoted(self) -> bool:
        """True if this run has promoted what it rolled out."""
        return any(move.kind is Kind.PROMOTE for move in self.moves)

    def connects(self, workspace: Workspace, studio_page: Callable[[str], str | None] = lambda _: None) -> None:
        """Take in the workspace that the run works in, and where an endpoint's page in Azure ML Studio is."""
        self.workspace = workspace
        if endpoint := self._labels[ENDPOINT]:  # the watcher works on many
            self.studio_page = studio_page(endpoint)
        self.label(workspace=str(workspace), studio=self.studio_page or "")

    def start(self, spec: RolloutSpec, now: datetime, woken: Woken | None = None) -> Facts:
        """Return what the run knows at its start.

        Args:
            spec: The folder.
            now: The time, in UTC.
            woken: How it was woken, if it was.
        """
        # Long enough for the work between two writes: nothing renews a lease.
        seconds = lease_seconds() + math.ceil(2 * work_seconds(spec))
        self._know(
            started=woken.started if woken else now,
            is_woken=woken is not None,
            owned=woken is not None and woken.waited_for != Kind.WAIT_UNTIL_READY,
            now=now,
            lease_seconds=seconds,
        )
        self._began = woken.began if woken else self._began
        self._labels[STARTED] = time_text(self.facts.started)
        return self.facts

    def obeys(self, command: Command) -> bool:
        """Return True if a command is for this run: one that an earlier attempt was given is not for a retry."""
        return command.at > time_text(self._began)

    def look(self, endpoint: EndpointState, now: datetime, ended: frozenset[str]) -> None:
        """Take in a reading of the endpoint."""
        before, self.endpoint = self.endpoint, endpoint
        if before is None or before.record.lease != endpoint.record.lease or endpoint.busy is not None:
            self._lease_since = time.monotonic()
        age_seconds = time.monotonic() - self._lease_since
        self._know(now=now, ended=self.facts.ended | ended, lease_age_seconds=age_seconds)
        if self.facts.began_with is None:
            self._know(began_with=endpoint.serving)
            if self.facts.is_woken and not self.facts.owned:
                self._know(provisioning_seconds=seconds_without_process(endpoint, self.attempt_id))
        underway = endpoint.record.underway
        if underway is not None and underway.is_of(self.attempt_id):
            self._know(owned=True)

    def made(self, move: Move) -> None:
        """Remember a move that succeeded."""
        self.moves.append(move)
        if self.endpoint is not None:
            self.facts = facts_after(self.facts, move, self.endpoint)

    def started(self, online_deployment: str, operation: str | None) -> None:
        """Remember the address of the last operation on an online deployment, in this process only: it is signed."""
        if operation is not None:
            self._operations[online_deployment.lower()] = operation

    def operation_on(self, online_deployment: str) -> str | None:
        """Return the address of the operation that this attempt started last on an online deployment, or None."""
        return self._operations.get(online_deployment.lower())

    def looked(self, look: Look) -> None:
        """Take in a look at the evidence."""
        self._know(look=look)

    def compared(self, comparison: Comparison) -> None:
        """Take in the comparison of the predictions."""
        self._know(comparison=comparison)

    def has_disproved(self, traffic: Mapping[str, int]) -> None:
        """Remember that the live smoke test failed under this traffic, which another rollout moved."""
        self._know(disproved=dict(traffic))

    def waited_without_process(self, made: OnlineDeploymentState | None) -> float:
        """Return the age, in seconds, of an online deployment that this run created before it waited without a process.

        Otherwise 0: a wait begins with its process.
        """
        if made is None or not self.facts.is_woken:
            return 0.0
        return made.record.seconds_since_creation(datetime.now(UTC), self.attempt_id) or 0.0

    def has_seen_ready(self, made: OnlineDeploymentState) -> None:
        """Remember how long Azure needed for an online deployment that this flow run created."""
        seconds = made.record.seconds_since_creation(datetime.now(UTC), self.attempt_id)
        self._know(provisioning_seconds=seconds)

    def plans(self, rollout: PlannedRollout) -> None:
        """Take in the plan."""
        self.rollout = rollout
        self._know(autoscale=rollout.autoscale)

    def _know(self, **changes: object) -> None:
        self.facts = self.facts.model_copy(update=changes)

    def label(self, **facts: str) -> None:
        """Set labels: `endpoint`, `workspace`, `studio`, `model`, `traffic`, `cause` or `next`."""
        self._label({f"rollway.{name}": value for name, value in facts.items()})

    async def labels_written(self) -> None:
        """Wait until all labels are written, the server has refused them, or a few seconds have passed."""
        if self._writing is not None:
            self._write_now.set()
            await asyncio.wait([self._writing], timeout=LABELS_WAIT_SECONDS)

    def _end(self, task: str, started: datetime, *, is_completed: bool) -> None:
        self._timeline.append(TaskTime(name=task, started=started, ended=datetime.now(UTC), is_completed=is_completed))
        failed = self.failed_task
        has_recovered = self._labels[FAILED_TASK] and not failed
        self._labels |= {FAILED_TASK: failed or ""} | ({CAUSE: "", NEXT: ""} if has_recovered else {})

    def _label(self, labels: dict[str, str]) -> None:
        self._labels |= labels
        if self._writing is None or self._writing.done():
            self._write_now.clear()
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        written: dict[str, str] = {}
        try:
            while written != self._labels:
                written = dict(self._labels)
                async with get_client() as client:
                    await client.update_flow_run_labels(UUID(self.flow_run_id), {**written})
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LABELS_PAUSE_SECONDS):
                        await self._write_now.wait()
        except Exception as error:  # noqa: BLE001 (an alert that knows less is better than a failed rollout)
            run_logger().warning("Alerts about this run will be out of date: %s", error)


def current_run() -> Run:
    """Return the attempt that this code runs in; the same object for the flow and all its tasks."""
    return _run(str(flow_run.id), flow_run.run_count)


def run_url() -> str | None:
    """Return the address of this run's page; None if it has none, because the server is temporary."""
    return url_for("flow-run", flow_run.id)  # flow_run.ui_url is an address that the UI has no longer


async def is_news(reason: str) -> bool:
    """Return True if people were not told yet that this flow run waits for them for that reason."""

    async def note() -> bool:
        run_id = UUID(str(flow_run.id))
        news = f"{reason}, since {time_text(current_run().facts.started)}"  # a retry tells them again
        async with get_client() as client:
            labels = (await client.read_flow_run(run_id)).labels or {}
            if labels.get(HELD) == news:
                return False
            await client.update_flow_run_labels(run_id, {HELD: news})
        return True

    return await best_effort("it is unknown whether people know that it waits", note()) is not False


def requester(given: str) -> RequestedBy:
    """Return who asks for the run: a run that Prefect's scheduler created is a schedule's, whatever its parameter."""
    context = FlowRunContext.get()
    is_scheduled = context is not None and context.flow_run is not None and context.flow_run.auto_scheduled is True
    return RequestedBy.SCHEDULE if is_scheduled and given == "person" else RequestedBy(given)


def run_name() -> str:
    """Return the name that a run starts with, from its parameters. For `@flow(flow_run_name=…)`."""
    return _title(flow_run.parameters.get("model_version"))


async def rename_run(model: ResolvedAsset | None) -> str:
    """Name and tag the run after the model version that it resolved; return the name."""
    name = _title(model.version if model else None)
    found = {"rollway", f"rollout:{_rollout()}"} | ({f"model:{model}"} if model and model.version else set())
    await best_effort("this run keeps its name and tags", _rename(name, {*flow_run.tags, *found}))
    return name


def title(rollout: str, version: str | None, *, weight: int = 100, is_dry_run: bool = False) -> str:
    """Return a title such as `diabetes · model 7 · canary 10 %`; parts without information are left out."""
    parts = [
        rollout,
        f"model {version}" if version else "",
        f"canary {weight} %" if weight < 100 else "",
        "dry run" if is_dry_run else "",
    ]
    return " · ".join(part for part in parts if part)


async def add_tag(tag: str) -> None:
    """Add a tag to the run."""
    current_run().tags.add(tag)
    async with get_client() as client:
        await client.update_flow_run(UUID(str(flow_run.id)), tags=current_run().tags)


async def _rename(name: str, tags: set[str]) -> None:
    current_run().tags |= tags
    async with get_client() as client:
        await client.update_flow_run(UUID(str(flow_run.id)), name=name, tags=current_run().tags)


@functools.cache
def _run(flow_run_id: str, attempt: int) -> Run:
    return Run(flow_run_id, attempt)


def _title(version: str | None) -> str:
    given = flow_run.parameters
    return title(_rollout(), version, weight=given.get("weight", 100), is_dry_run=given.get("dry_run", False))


def _rollout() -> str:
    return rollout_name(str(flow_run.parameters["rollout"]))
