"""The alert about an abort that failed, as the Prefect server renders it from the labels of the run."""

import asyncio
from typing import Any

import pytest

from tasks import abort
from tests.support.runs import SlowServer, run_after
from tests.unit.prefect.test_alerts import rendered
from tests.unit.tasks.test_abort import MODEL, SMOKE, Failing, refuse


@pytest.mark.parametrize("state", ["Failed", "Cancelled", "Crashed"])
@pytest.mark.parametrize(
    ("first", "named"),
    [(SMOKE, "the smoke test failed: status 500"), (asyncio.CancelledError(), "CancelledError()")],
    ids=["a failed task", "a cancelled flow"],
)
def test_the_alert_about_traffic_that_is_not_restored_sends_people_to_the_traffic(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    state: str,
    first: BaseException,
    named: str,
) -> None:
    failing, server = Failing(monkeypatch, caplog), SlowServer()
    monkeypatch.setattr("rollway.prefect.run.get_client", lambda: server)
    real = run_after(server, *([("smoke test green (by traffic)", SMOKE)] if first is SMOKE else []))
    failing.run.label, failing.run.labels_written = real.label, real.labels_written
    failing.moves_traffic()
    failing.azure._put_endpoint = refuse  # type: ignore[method-assign, assignment]
    report = abort.report_abort

    async def as_a_task(*arguments: Any) -> None:
        async with real.trying("abort: restore traffic"):
            await report(*arguments)
        real.label(model=MODEL)
        await real.labels_written()

    monkeypatch.setattr(abort, "report_abort", as_a_task)

    error = failing(first)
    _, body = rendered("failed", state, f"Flow run encountered an exception: {error}", server.labels[-1])

    assert body.splitlines()[:5] == [
        "Cause: the rollout failed and the traffic of 'diabetes' could not be restored (permanent)",
        "  where: endpoint diabetes",
        f"  why: cannot change the endpoint 'diabetes': a policy forbids it after: {named}",
        "Next: look at once: az ml online-endpoint show --name diabetes --query traffic",
        "Endpoint: diabetes-prod",
    ]
    assert "Traffic, as last seen by this run: not restored, look at once" in body
