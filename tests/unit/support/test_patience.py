"""A machine that stands still for a while must not look like a bad model to the end-to-end tests."""

import time
from pathlib import Path
from typing import Any, cast

import pytest

from rollway.azure.waiting import SYSTEM_CLOCK
from tests.support.quick_rollout import SPEED, replacements
from tests.support.scoring import scorer
from tests.support.world import PatientStack, World


def test_a_model_has_all_the_time_that_azure_allows_unless_a_test_says_less(tmp_path: Path) -> None:
    world = World(cast(Any, None), {}, cast(Any, None), tmp_path, "python")

    given: list[dict[str, Any]] = [
        {},
        {"request_settings": {"max_concurrent_requests_per_instance": 10}},
        {"request_settings": {"request_timeout_ms": 500}},
    ]

    made = [world.make_rollout(**settings).online_deployment["request_settings"] for settings in given]

    assert made == [
        {"request_timeout_ms": 180_000},
        {"request_timeout_ms": 180_000, "max_concurrent_requests_per_instance": 10},
        {"request_timeout_ms": 500},
    ]


def test_a_fast_rollout_measures_latencies_in_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name, replacement in replacements():
        monkeypatch.setattr(owner, name, replacement)
    client = scorer("http://127.0.0.1:1/score", timeout_seconds=7)

    before, fast, real, after = time.monotonic(), SYSTEM_CLOCK.now(), client._clock.now(), time.monotonic()

    assert before * SPEED <= fast <= after * SPEED, "what waits is short"
    assert before <= real <= after, "a model has its time"
    assert client._timeout_seconds == 7


def test_the_stacks_of_tests_wait_long_for_their_prefect_server(tmp_path: Path) -> None:
    variables = PatientStack(tmp_path, lambda _: None).prefect_variables()

    assert int(variables["ROLLWAY_PREFECT_SECONDS"]) >= 240
