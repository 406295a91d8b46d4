"""Azure Monitor's metrics through azure-mgmt-monitor, after real requests."""

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model

from tests.contract.conftest import Arm, Served, create_endpoint, describe, serving, set_traffic
from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.other_clients import ClientError, OtherClient, monitor_client
from tests.support.plain_rest import PlainRest

Query = Callable[..., Any]


@pytest.fixture(scope="module")
def scored(client: MLClient, model: Model, environment: Environment, emulator: EmulatorProcess) -> Served:
    """An endpoint that has answered 7 times from `good`, 3 times from `raises`, and refused 2 requests."""
    name = f"metrics-{uuid.uuid4().hex[:8]}"
    create_endpoint(client, name)
    for script in ("good", "raises"):
        client.online_deployments.begin_create_or_update(describe(name, model, environment, script, script)).result()
    set_traffic(client, name, good=100)
    served = serving(client, emulator, name)
    answers = [served.score({}) for _ in range(7)]
    answers += [served.score({}, azureml_model_deployment="raises") for _ in range(3)]
    answers += [served.score({}, key="wrong"), served.score({}, azureml_model_deployment="absent")]
    assert [answer.status_code for answer in answers] == [200] * 7 + [424] * 3 + [401, 404]
    return served


@pytest.fixture
def query(monitor: OtherClient, arm: Arm, scored: Served) -> Query:
    """Asks for metrics of the endpoint, or of an online deployment of it."""

    def ask(metrics: str, deployment: str = "", operation: str = "metrics.list", **keywords: str) -> Any:
        resource = f"{arm.root}/onlineEndpoints/{scored.name}{deployment and f'/deployments/{deployment}'}"
        names = {"metricnames": metrics} if metrics else {}
        return monitor(operation, resource, **names, **keywords)

    return ask


def totals(answer: Any) -> dict[tuple[str, ...], float]:
    """The sum of all points of the first metric, by the values of its dimensions."""
    return {
        tuple(one["value"] for one in series.get("metadatavalues", [])): sum(
            point.get("total", 0) for point in series["data"]
        )
        for series in answer["value"][0]["timeseries"]
    }


def test_requests_are_counted_for_the_endpoint(query: Query) -> None:
    answer = query("RequestsPerMinute", aggregation="Total")

    assert totals(answer) == {(): 12}
    assert (answer["value"][0]["unit"], answer["value"][0]["name"]["value"]) == ("Count", "RequestsPerMinute")
    assert answer["namespace"] == "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
    assert answer["resourceregion"] == "westeurope"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("deployment eq 'good'", {("good",): 7}),
        ("deployment eq '*'", {("good",): 7, ("raises",): 3, ("unknown",): 2}),
        ("statusCodeClass eq '4xx'", {("4xx",): 5}),
        ("deployment eq 'raises' and statusCodeClass ne '2xx'", {("raises", "4xx"): 3}),
        ("statusCode eq '401' or statusCode eq '404'", {("401",): 1, ("404",): 1}),
        ("deployment eq 'raises' and modelStatusCode eq '*'", {("raises", "500"): 3}),
        ("deployment eq 'absent'", {}),
    ],
)
def test_a_filter_chooses_and_splits_by_dimension(query: Query, condition: str, expected: dict[Any, float]) -> None:
    assert totals(query("RequestsPerMinute", aggregation="Total", filter=condition)) == expected


def test_latency_has_percentiles_for_endpoint_and_online_deployment(query: Query) -> None:
    names = "RequestLatency,RequestLatency_P50,RequestLatency_P90,RequestLatency_P95,RequestLatency_P99"

    of_endpoint = latest(query(names, aggregation="Average", filter="deployment eq 'good'"))
    of_deployment = latest(query(names.partition(",")[2], "good", aggregation="Average"))

    assert 0 < of_endpoint["RequestLatency_P50"] <= of_endpoint["RequestLatency_P90"]
    assert of_endpoint["RequestLatency_P90"] <= of_endpoint["RequestLatency_P95"] <= of_endpoint["RequestLatency_P99"]
    assert of_deployment == {name: value for name, value in of_endpoint.items() if name != "RequestLatency"}
    assert 0 < of_endpoint["RequestLatency"] <= of_endpoint["RequestLatency_P99"]


def latest(answer: Any) -> dict[str, float]:
    """The last average of each metric."""
    return {
        metric["name"]["value"]: next(
            point["average"] for point in reversed(metric["timeseries"][0]["data"]) if "average" in point
        )
        for metric in answer["value"]
    }


def test_an_online_deployment_has_metrics_of_its_own(query: Query) -> None:
    answer = query("RequestsPerMinute", "raises", aggregation="Total", filter="envoy_response_code eq '*'")

    assert totals(answer) == {("424",): 3}
    assert answer["namespace"].endswith("/onlineEndpoints/deployments")


def test_an_online_deployment_shows_what_its_instances_use(query: Query) -> None:
    names = "CpuUtilizationPercentage,CpuMemoryUtilizationPercentage,DeploymentCapacity"
    deadline = time.monotonic() + 180
    while True:
        answer = query(names, "good", aggregation="Average")
        if all("average" in str(metric["timeseries"]) for metric in answer["value"]):
            break
        assert time.monotonic() < deadline, answer
        time.sleep(0.5)
    used = latest(answer)
    split = query("DeploymentCapacity", "good", aggregation="Average", filter="instanceId eq '*' and State eq '*'")

    assert 0 <= used["CpuUtilizationPercentage"] <= 100
    assert 0 < used["CpuMemoryUtilizationPercentage"] < 100
    assert used["DeploymentCapacity"] == 1
    assert [[one["value"] for one in series["metadatavalues"]] for series in split["value"][0]["timeseries"]] == [
        ["0", "Ready"]
    ]


def test_minutes_without_requests_are_points_without_a_value(query: Query) -> None:
    data = query("RequestsPerMinute", aggregation="Average", timespan="PT30M")["value"][0]["timeseries"][0]["data"]

    assert 30 <= len(data) <= 31
    assert 1 <= sum("average" in point for point in data) <= 3


def test_a_wider_interval_adds_up_minutes(query: Query) -> None:
    answer = query("RequestsPerMinute", aggregation="Total,Count,Maximum", interval="PT1H", timespan="PT2H")

    data = answer["value"][0]["timeseries"][0]["data"]
    assert (answer["interval"], len(data)) == ("PT1H", len(data))
    assert len(data) in (2, 3)
    assert sum(point.get("total", 0) for point in data) == 12
    assert all(point["count"] <= 3 for point in data if "count" in point)


def test_bytes_are_counted(query: Query) -> None:
    answer = query("NetworkBytes", aggregation="Total")

    assert answer["value"][0]["unit"] == "BytesPerSecond"
    assert totals(answer)[()] * 60 > 7 * len('{"answer": 42}')


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"metrics": "Absent"}, "Valid metrics: RequestsPerMinute,RequestLatency"),
        ({"metrics": "RequestsPerMinute", "filter": "colour eq 'red'"}, "'colour' is not a dimension"),
        ({"metrics": "RequestsPerMinute", "filter": "deployment is good"}, "is not a condition"),
        (
            {"metrics": "RequestsPerMinute", "filter": "deployment eq 'good' or statusCode eq '*'"},
            "the logical or operator cannot separate two different metadata names",
        ),
        ({"metrics": "RequestsPerMinute", "filter": "deployment eq '*'", "top": "0"}, "Invalid top '0'"),
        ({"metrics": "RequestsPerMinute", "timespan": "yesterday"}, "Invalid timespan"),
        ({"metrics": "RequestsPerMinute", "aggregation": "Median"}, "Invalid aggregation"),
        ({"metrics": "RequestsPerMinute", "interval": "PT7M"}, "Invalid interval"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(query: Query, wrong: dict[str, str], text: str) -> None:
    with pytest.raises(ClientError) as caught:
        query(**wrong)

    assert (caught.value.status, text in str(caught.value)) == (400, True)


def test_the_definitions_name_units_and_dimensions(query: Query) -> None:
    found = {one["name"]["value"]: one for one in query("", operation="metric_definitions.list")}

    assert [one["value"] for one in found["RequestsPerMinute"]["dimensions"]] == [
        "deployment",
        "statusCode",
        "statusCodeClass",
        "modelStatusCode",
    ]
    assert found["RequestLatency_P99"]["unit"] == "MilliSeconds"
    assert {one["name"]["value"] for one in query("", "good", operation="metric_definitions.list")} >= {
        "RequestsPerMinute",
        "RequestLatency_P99",
    }


def test_metrics_of_what_does_not_exist_are_a_404(query: Query) -> None:
    with pytest.raises(ClientError) as caught:
        query("RequestsPerMinute", "absent")

    assert caught.value.status == 404


@pytest.fixture(scope="module")
def lagging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An emulator whose metrics arrive half an hour late."""
    folder = tmp_path_factory.mktemp("lagging")
    (folder / "seed.yaml").write_text("scoring: {metrics_lag_seconds: 1800}")
    with running_emulator(folder / "state", "--seed", str(folder / "seed.yaml")) as running:
        yield running


def test_metrics_arrive_after_their_lag(lagging: EmulatorProcess, name: str) -> None:
    rest, path = PlainRest(lagging), f"/onlineEndpoints/{name}"
    rest.send("PUT", path, {"location": "westeurope", "properties": {"authMode": "Key"}}).raise_for_status()
    uri = rest.send("GET", path).json()["properties"]["scoringUri"]
    monitor = monitor_client(lagging.environment)
    counts = []

    assert lagging.http().post(uri).status_code == 401
    for seconds in (0, 900, 1000):
        lagging.http().post(f"{lagging.url}/_emulator/clock", json={"advance_seconds": seconds}).raise_for_status()
        answer = monitor("metrics.list", f"{rest.root}{path}", metricnames="RequestsPerMinute", aggregation="Total")
        counts.append(totals(answer))
    monitor.close()

    assert counts == [{(): 0}, {(): 0}, {(): 1}]
