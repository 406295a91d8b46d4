"""Requests by the minute from Azure Monitor: the queries that are sent, and what becomes of the answers."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from rollway.azure.metrics import read_minutes, requests_of_last_hour
from rollway.errors import AccessDenied, AzureUnavailable
from rollway.rollout.evidence import Counts, Minute
from tests.support.fake_azure import run
from tests.support.fake_monitor import WORKSPACE, FakeMonitor, Query, forbidden

ENDPOINT = WORKSPACE.endpoint_id("diabetes")
GREEN = f"{ENDPOINT}/deployments/Green"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
OURS = "deployment eq 'Green' or deployment eq 'blue'"


@pytest.fixture(params=[False, True], ids=["end-excluded", "end-included"])
def azure(request: pytest.FixtureRequest) -> FakeMonitor:
    monitor = FakeMonitor()
    monitor.end_is_included = request.param
    return monitor


def read(azure: FakeMonitor, stable: tuple[str, ...] = ("blue",), **changed: Any) -> tuple[Minute, ...]:
    """Return the minutes of an hour before noon, in which the canary `Green` has traffic."""
    window = {"start": NOON - 60 * MINUTE, "end": NOON, "live_since": NOON - 60 * MINUTE, **changed}
    return run(read_minutes(azure.session, "diabetes", "Green", stable, 95, **window))


def count(azure: FakeMonitor, at: datetime, deployment: str, status: int, requests: float) -> None:
    """Add requests of the endpoint."""
    azure.measure(ENDPOINT, "RequestsPerMinute", at, requests, deployment=deployment, statusCode=str(status))


def copy(azure: FakeMonitor, at: datetime, status: int, requests: float) -> None:
    """Add requests of the online deployment `Green`, which may be copies."""
    azure.measure(GREEN, "RequestsPerMinute", at, requests, envoy_response_code=str(status))


def test_requests_are_asked_for_by_status_and_latency_by_online_deployment(azure: FakeMonitor) -> None:
    assert read(azure) == ()

    span = "2026-01-31T11:00:00Z/2026-01-31T12:00:00Z"
    assert azure.queries == [
        Query(ENDPOINT, span, "RequestsPerMinute", "Total", "PT1M", f"{OURS} and statuscode eq '*'", 100),
        Query(ENDPOINT, span, "RequestLatency_P95", "Average", "PT1M", OURS, 100),
    ]


def test_a_window_is_read_in_pieces_of_24_hours_of_whole_minutes_in_utc(azure: FakeMonitor) -> None:
    start = (NOON - timedelta(hours=49, seconds=-30)).astimezone(timezone(timedelta(hours=5)))
    for at in (NOON - timedelta(hours=49), NOON - timedelta(hours=25), NOON - timedelta(hours=1), NOON - MINUTE):
        count(azure, at, "blue", 200, 7)

    minutes = read(azure, start=start, end=NOON + timedelta(seconds=59), live_since=start)

    spans = [one.timespan for one in azure.queries if one.metricnames == "RequestsPerMinute"]
    assert spans == [
        "2026-01-29T11:00:00Z/2026-01-30T11:00:00Z",
        "2026-01-30T11:00:00Z/2026-01-31T11:00:00Z",
        "2026-01-31T11:00:00Z/2026-01-31T12:00:00Z",
    ]
    assert [one.stable.requests for one in minutes] == [7, 7, 7, 7]


def test_statuses_become_requests_errors_and_throttled_ones_of_each_minute(azure: FakeMonitor) -> None:
    for status, requests in ((200, 5), (424, 2), (408, 1), (503, 1), (429, 4), (401, 9)):
        count(azure, NOON - 2 * MINUTE, "green", status, requests)
    count(azure, NOON - 2 * MINUTE, "BLUE", 200, 50)
    count(azure, NOON - MINUTE, "blue", 200, 40.0)

    assert read(azure) == (
        Minute(at=NOON - 2 * MINUTE, canary=Counts(requests=9, errors=4, throttled=4), stable=Counts(requests=50)),
        Minute(at=NOON - MINUTE, stable=Counts(requests=40)),
    )


def test_more_than_ten_series_are_read(azure: FakeMonitor) -> None:
    for status in range(500, 515):
        count(azure, NOON - MINUTE, "green", status, 1)

    assert read(azure)[0].canary == Counts(requests=15, errors=15)


def test_requests_of_several_stables_are_added_up_and_the_latency_is_that_of_the_first(azure: FakeMonitor) -> None:
    at = NOON - MINUTE
    for name, requests, milliseconds in (("green", 3, 80), ("blue", 10, 40), ("Red", 20, 900), ("other", 99, 1)):
        count(azure, at, name, 200, requests)
        azure.measure(ENDPOINT, "RequestLatency_P95", at, milliseconds, deployment=name)

    assert read(azure, stable=("blue", "red")) == (
        Minute(
            at=at,
            canary=Counts(requests=3, latency_seconds=0.08),
            stable=Counts(requests=30, latency_seconds=0.04),
        ),
    )


def test_a_canary_without_a_stable_is_read_alone(azure: FakeMonitor) -> None:
    count(azure, NOON - MINUTE, "green", 200, 3)

    assert read(azure, stable=()) == (Minute(at=NOON - MINUTE, canary=Counts(requests=3)),)
    assert azure.queries[0].filter == "deployment eq 'Green' and statuscode eq '*'"


def test_a_minute_that_is_not_over_is_left_out(azure: FakeMonitor) -> None:
    count(azure, NOON - MINUTE, "green", 200, 3)
    count(azure, NOON, "green", 424, 1)

    assert [one.at for one in read(azure, end=NOON + timedelta(seconds=59))] == [NOON - MINUTE]


def test_a_minute_without_requests_is_no_minute(azure: FakeMonitor) -> None:
    count(azure, NOON - 2 * MINUTE, "green", 200, 0.0)
    azure.measure(ENDPOINT, "RequestLatency_P95", NOON - 2 * MINUTE, 40, deployment="green")
    count(azure, NOON - MINUTE, "unknown", 401, 3)

    assert read(azure) == ()


def test_before_the_canary_has_traffic_its_copies_are_read_from_its_own_metrics(azure: FakeMonitor) -> None:
    for number in (3, 2, 1):
        count(azure, NOON - number * MINUTE, "blue", 200, 30)
        copy(azure, NOON - number * MINUTE, 200, 10)
        copy(azure, NOON - number * MINUTE, 424, number)
        azure.measure(GREEN, "RequestLatency_P95", NOON - number * MINUTE, 100 * number)

    minutes = read(azure, live_since=None)

    span = "2026-01-31T11:00:00Z/2026-01-31T12:00:00Z"
    assert azure.queries[2:] == [
        Query(GREEN, span, "RequestsPerMinute", "Total", "PT1M", "envoy_response_code eq '*'", 100),
        Query(GREEN, span, "RequestLatency_P95", "Average", "PT1M", None, None),
    ]
    assert [one.canary for one in minutes] == [
        Counts(requests=10 + number, errors=number, latency_seconds=number / 10) for number in (3, 2, 1)
    ]
    assert {one.stable.requests for one in minutes} == {30}


def test_the_minute_in_which_the_canary_gets_traffic_has_its_copies_and_its_traffic_once(azure: FakeMonitor) -> None:
    live_since = NOON - 2 * MINUTE + timedelta(seconds=20)
    copy(azure, NOON - 3 * MINUTE, 200, 6)
    copy(azure, NOON - 2 * MINUTE, 200, 9)  # 5 copies, 4 requests
    count(azure, NOON - 2 * MINUTE, "green", 200, 4)
    copy(azure, NOON - MINUTE, 200, 7)
    count(azure, NOON - MINUTE, "green", 200, 7)

    minutes = read(azure, live_since=live_since)

    assert [one.canary.requests for one in minutes] == [6, 9, 7]
    assert azure.queries[2].timespan == "2026-01-31T11:00:00Z/2026-01-31T11:59:00Z"


def test_a_canary_that_had_traffic_from_the_start_has_no_copies_to_read(azure: FakeMonitor) -> None:
    start = NOON - 60 * MINUTE + timedelta(seconds=30)

    read(azure, start=start, live_since=start)

    assert {one.resource for one in azure.queries} == {ENDPOINT}


def test_the_requests_of_the_last_hour_are_added_up(azure: FakeMonitor) -> None:
    for number in (3, 2, 1):
        azure.measure(ENDPOINT, "RequestsPerMinute", NOON - number * MINUTE, 10 * number)

    assert run(requests_of_last_hour(azure.session, "diabetes")) == 60
    assert azure.queries == [Query(ENDPOINT, "PT1H", "RequestsPerMinute", "Total", "PT1M", None, None)]


@pytest.mark.parametrize("is_hour", [True, False])
def test_an_identity_that_may_not_read_metrics_is_told_which_role_it_needs(azure: FakeMonitor, is_hour: bool) -> None:
    azure.errors["metrics"] = forbidden()

    with pytest.raises(AccessDenied) as caught:
        run(requests_of_last_hour(azure.session, "diabetes")) if is_hour else read(azure)

    assert caught.value.what == "cannot read the metrics of 'diabetes'"
    assert caught.value.where == "endpoint diabetes"
    assert "'Monitoring Reader'" in str(caught.value.hint)


@pytest.mark.parametrize("is_hour", [True, False])
def test_a_metric_with_an_error_of_its_own_is_not_an_answer_without_data(azure: FakeMonitor, is_hour: bool) -> None:
    azure.metric_error = {"errorCode": "InternalServerError", "errorMessage": "a shard is down"}

    with pytest.raises(AzureUnavailable) as caught:
        run(requests_of_last_hour(azure.session, "diabetes")) if is_hour else read(azure)

    assert caught.value.what == "cannot read the metric 'RequestsPerMinute'"
    assert caught.value.why == "InternalServerError: a shard is down"
