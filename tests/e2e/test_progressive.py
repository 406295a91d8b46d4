"""Progressive rollouts end to end: a real Prefect server, real runs, clients that score all the time.

Probes give the evidence, so that a step takes seconds. Evidence of Azure Monitor is tested in tests/contract.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.calls import Call, calls_of
from tests.support.lab import Lab, RunResult, Seen
from tests.support.matrix import IS_FULL
from tests.support.rest import Client

KILLED = -9
STEPS = [{"weight": 25, "bake_seconds": 1}, {"weight": 100, "bake_seconds": 1}]
JUDGE = {"source": "probes", "minimum_requests": 200, "probes": {"requests_per_second": 400}}
PROGRESSIVE = {"strategy": "progressive", "steps": STEPS, "judge": JUDGE}


@pytest.fixture
def client(lab: Lab) -> Iterator[Client]:
    """Somebody who scores an endpoint of its own all the time, and stable behind it."""
    begin(lab)
    scoring = Client(lab.rest, lab.rollout.name, pause_seconds=0.02)
    scoring.start()
    try:
        yield scoring
    finally:
        scoring.stop()


def begin(lab: Lab) -> None:
    """Let a first version serve, with room for clients and probes at once."""
    lab.use_new_endpoint()
    lab.rollout.online_deployment["request_settings"]["max_concurrent_requests_per_instance"] = 20
    lab.rollout.rollout |= PROGRESSIVE
    first = lab.roll_out()
    assert first.exit_code == 0, first.log


def deploy(lab: Lab, **environment_variables: str) -> tuple[Seen, RunResult, Seen, list[dict[str, Any]]]:
    """Roll out changed content; return the endpoint before it, the result, the endpoint after it, and the requests."""
    before = lab.look()
    lab.change()
    lab.rollout.online_deployment["environment_variables"] |= environment_variables
    results: list[RunResult] = []
    requests = lab.requests_of(lambda: results.append(lab.roll_out()))
    return before, results[0], lab.look(), requests


def endpoint_writes(requests: list[dict[str, Any]], name: str) -> int:
    """Count the writes to the endpoint itself."""
    return sum(
        one["method"] in ("PUT", "PATCH") and str(one["path"]).lower().endswith(f"/onlineendpoints/{name}")
        for one in requests
    )


def test_a_good_canary_passes_all_steps_and_no_request_fails(lab: Lab, client: Client) -> None:
    before, result, after, requests = deploy(lab)

    assert result.exit_code == 0, result.error
    assert len(after.traffic) == 1
    assert after.traffic.keys() != before.traffic.keys()
    assert endpoint_writes(requests, lab.rollout.name) == len(STEPS) + 1, "one for each step, and the promotion"
    assert after.is_free
    assert not [tag for tag, value in after.tags.items() if tag in ("rollway:rollout", "rollway:progression") and value]
    client.stop()
    assert set(client.statuses) == {200}


def test_a_canary_that_fails_8_percent_is_aborted_in_its_first_step(
    lab: Lab, client: Client, record_property: Callable[[str, object], None]
) -> None:
    before, result, after, _ = deploy(lab, FAILS_ONE_IN="12")

    assert result.exit_code == 3, result.error
    assert "CanaryFailed" in result.error
    assert "failed: errors " in result.error
    assert after.traffic == before.traffic
    assert list(after.online_deployments) == list(before.online_deployments)
    client.stop()
    failed = [status for status in client.statuses if status != 200]
    record_property("cells", f"8 % errors: {len(failed)} of {len(client.statuses)} requests failed, all by the canary")
    assert len(failed) <= 0.25 * 0.2 * len(client.statuses)


def test_a_canary_that_is_twice_as_slow_is_aborted(lab: Lab, client: Client) -> None:
    before, result, after, _ = deploy(lab, ANSWERS_AFTER_SECONDS="0.2")

    assert result.exit_code == 3, result.error
    assert "failed: latency P95 " in result.error
    assert after.traffic == before.traffic
    client.stop()
    assert set(client.statuses) == {200}


def test_a_canary_with_other_predictions_is_held_before_any_client_sees_it(lab: Lab, client: Client) -> None:
    folder = lab.folder / lab.rollout.name / f"rollout-{lab.rollout.name}"
    (folder / "requests.jsonl").write_text("".join(f'{{"data": [[{number}]]}}\n' for number in range(60)))
    predictions = {"requests": "requests.jsonl", "requests_per_second": 1000, "on_disagreement": "hold"}
    lab.rollout.rollout |= {"judge": {**JUDGE, "predictions": predictions}, "deadline_seconds": 5}

    before, result, after, requests = deploy(lab)

    # The model version is part of the answer, so every answer differs.
    assert result.exit_code == 5, result.error
    assert "the rollout of 'main-" in result.error
    assert "answers agree for 0 % of 60 requests" in result.log
    assert after.traffic == before.traffic
    traffic_writes = [one for one in requests if one["method"] == "PUT" and "/onlineendpoints/" in one["path"].lower()]
    assert all("/deployments/" in one["path"].lower() for one in traffic_writes[:1])
    client.stop()
    assert set(client.statuses) == {200}


@pytest.fixture(scope="package")
def writes_and_looks(lab: Lab) -> list[Call]:
    """The writes and looks of a progressive rollout that nobody disturbs."""
    lab.start_progressive()
    lab.change()
    found = [one for one in calls_of(lab.requests_of(lab.roll_out)) if one.is_write or one.is_look]
    assert any(one.is_look for one in found)
    return found


def kill_at(lab: Lab, call: Call, moment: str) -> tuple[Seen, RunResult]:
    """Return the endpoint before a rollout, and the rollout, which is killed before or after a call.

    Clients decide how many looks a rollout needs: one that ends before a look is tried again with an earlier look.
    """
    occurrence = call.occurrence
    while True:
        before = lab.look()
        lab.change()
        kill = {"method": call.method, "path": call.path[1:], "occurrence": occurrence, "moment": moment}
        killed = lab.roll_out(kill=kill)
        if killed.exit_code or call.is_write or occurrence == 1:
            return before, killed
        occurrence //= 2


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_progressive_rollout_that_is_killed_is_finished_by_the_next_run(
    moment: str, lab: Lab, writes_and_looks: list[Call], record_property: Callable[[str, object], None]
) -> None:
    problems = []
    chosen = [
        one
        for number, one in enumerate(writes_and_looks)
        if IS_FULL or number % (2 if one.is_write else 6) == (moment == "after")
    ]
    lab.start_progressive()
    client = Client(lab.rest, lab.rollout.name, pause_seconds=0.1)
    client.start()
    try:
        for call in chosen:
            before, killed = kill_at(lab, call, moment)
            lab.bury(killed)
            following = lab.roll_out()
            after = lab.look()
            is_new = after.traffic.keys() != before.traffic.keys() and not after.tags.get("rollway:rollout")
            if killed.exit_code != KILLED or following.exit_code or len(after.traffic) != 1 or not is_new:
                problems.append(f"killed {moment} {call}: {killed.exit_code}, {following.error[:800]}, {after}")
            lab.note(f"progressive, killed {moment} {call}: {problems[-1:] or 'finished'}")
    finally:
        client.stop()
    record_property("cells", f"progressive rollout killed {moment}: {len(chosen)} of {len(writes_and_looks)} calls")

    assert problems == []
    assert set(client.statuses) == {200}
