"""Progressive rollouts judged by Azure Monitor, end to end. Azure's clock goes on by what a rollout waits.

Metrics arrive later than `lag_seconds` says.
"""

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollway.reports.svg import svgs_in
from tests.support.emulator_process import REPOSITORY
from tests.support.lab import Lab, RunResult, Seen
from tests.support.rest import Client

BAKE_SECONDS = 600  # in which clients send enough requests
SHORT_DEADLINE_SECONDS = 1500  # soon after the first step has been extended
METRICS = "/microsoft.insights/metrics$"


@pytest.fixture
def served(lab: Lab) -> Lab:
    """An endpoint whose first version serves, and whose next rollout is judged by requests of clients."""
    lab.start_progressive("metrics", BAKE_SECONDS)
    return lab


@pytest.fixture
def client(served: Lab) -> Iterator[Client]:
    """Somebody who scores all the time."""
    scoring = Client(served.rest, served.rollout.name)
    scoring.start()
    try:
        yield scoring
    finally:
        scoring.stop()


def deploy(lab: Lab, fault: dict[str, Any] | None = None, **environment_variables: str) -> tuple[Seen, RunResult, Seen]:
    """Roll out changed content; return the endpoint before it, the result and the endpoint after it."""
    before = lab.look()
    lab.change()
    lab.rollout.online_deployment["environment_variables"] |= environment_variables
    if fault:
        lab.emulator.fail(**fault)
    result = lab.roll_out()
    return before, result, lab.look()


def keep_pictures(lab: Lab, result: RunResult, **files: int) -> None:
    """Write pictures of the report where `make screenshot` wants them; `files` are their numbers by name."""
    folder = os.environ.get("ROLLWAY_SCREENSHOTS")
    if folder:
        pictures = svgs_in(lab.artifact(result, "progress-") or "")
        for name, number in files.items():
            (Path(folder) / f"progress-{name}.svg").write_text(pictures[number], encoding="utf-8")


def is_promoted(before: Seen, after: Seen) -> bool:
    """Return True if one new online deployment has all traffic and nothing of the rollout is left."""
    return list(after.traffic.values()) == [100] and after.traffic.keys() != before.traffic.keys() and after.is_free


def test_a_good_canary_is_promoted_by_the_requests_of_clients(served: Lab, client: Client) -> None:
    before, result, after = deploy(served)

    assert result.exit_code == 0, result.error
    assert is_promoted(before, after)
    assert "Step 2 of 2: successful: " in result.log
    keep_pictures(served, result, traffic=0)
    client.stop()
    assert set(client.statuses) == {200}


def test_a_person_who_watches_sees_the_evidence_of_a_rollout_under_way(served: Lab, client: Client) -> None:
    served.change()
    died = served.roll_out(kill={"method": "GET", "path": METRICS, "occurrence": 6, "moment": "before"})
    served.bury(died)
    command = [served.python, "-m", "rollway", "status", served.rollout.name, "--watch"]

    with subprocess.Popen(command, env=served.variables, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        shown = list(itertools.takewhile(lambda line: not line.startswith("maximum errors"), watch.stdout))
        watch.send_signal(signal.SIGINT)
        assert watch.wait() == 130

    assert any(line.startswith("▶ 25 %   · 100 %") for line in shown), shown
    (requests,) = (line for line in shown if line.startswith("requests     ") and "needed" not in line)
    assert int(requests.split()[-1].replace(",", "")) > 0, "stable has answered"


def test_a_canary_that_fails_often_is_aborted_by_the_requests_of_clients(served: Lab, client: Client) -> None:
    before, result, after = deploy(served, FAILS_ONE_IN="3")

    assert result.exit_code == 3, result.error
    assert "failed: errors " in result.error
    keep_pictures(served, result, evidence=3)
    assert after.traffic == before.traffic
    client.stop()
    assert set(client.statuses) <= {200, 424}


def test_a_quiet_endpoint_gets_a_verdict_by_probes_that_azure_monitor_counts(served: Lab) -> None:
    served.rollout.rollout["judge"]["source"] = "both"

    before, result, after = deploy(served)

    assert result.exit_code == 0, result.error
    assert is_promoted(before, after)
    assert "Step 1 of 2: successful: 2" in result.log, "20 probes or a few more"


def test_without_a_request_it_is_held_and_goes_back_at_its_deadline(served: Lab) -> None:
    served.rollout.rollout["deadline_seconds"] = SHORT_DEADLINE_SECONDS

    before, result, after = deploy(served)

    assert result.exit_code == 5, result.error
    assert "Held: no data: no request of the canary in this step" in result.log
    assert after.traffic == before.traffic


def test_when_azure_monitor_is_away_it_is_held_and_goes_back_at_its_deadline(served: Lab, client: Client) -> None:
    served.rollout.rollout["deadline_seconds"] = SHORT_DEADLINE_SECONDS

    # The preflight reads them first.
    before, result, after = deploy(served, {"path": METRICS, "after": 1, "status": 500, "count": None})

    assert result.exit_code == 5, result.error
    assert "Held: could not measure: cannot read the metrics of " in result.log
    assert after.traffic == before.traffic
    client.stop()
    assert set(client.statuses) == {200}


def test_when_azure_monitor_comes_back_the_rollout_goes_on_by_itself(served: Lab, client: Client) -> None:
    before, result, after = deploy(served, {"path": METRICS, "after": 1, "status": 500, "count": 10})

    assert result.exit_code == 0, result.error
    assert "could not measure: " in result.log
    assert is_promoted(before, after)
    client.stop()
    assert set(client.statuses) == {200}


def test_copies_of_requests_are_judged_before_any_client_sees_the_canary(served: Lab, client: Client) -> None:
    served.rollout.rollout["steps"].insert(0, {"mirror": 50, "bake_seconds": BAKE_SECONDS})

    before, result, after = deploy(served, FAILS_ONE_IN="3")

    assert result.exit_code == 3, result.error
    assert "Step 1 of 3: failed: errors " in result.log
    assert after.traffic == before.traffic
    client.stop()
    assert set(client.statuses) == {200}, "nobody waits for a copy"
    properties = served.rest.workspace(f"onlineEndpoints/{served.rollout.name}").json()["properties"]
    assert not any((properties.get("mirrorTraffic") or {}).values())
