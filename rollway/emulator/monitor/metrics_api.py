"""REST API of Azure Monitor's metrics of an endpoint or online deployment."""

import math
from datetime import UTC, datetime

from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.endpoints import ENDPOINT_PATH, require_endpoint
from rollway.emulator.arm.online_deployments import DEPLOYMENT_PATH, require_deployment
from rollway.emulator.arm.resource_manager import PROVIDER, Call, workspace_route
from rollway.emulator.core.clock import format_iso_seconds
from rollway.emulator.core.durations import parse_duration
from rollway.emulator.core.errors import ArmError, Document
from rollway.emulator.core.numbers import parse_whole
from rollway.emulator.core.store import Resource
from rollway.emulator.monitor.metrics import (
    AGGREGATIONS,
    DEPLOYMENT_KIND,
    ENDPOINT_KIND,
    METRICS,
    Filter,
    FilterError,
    Metric,
    build_series,
    parse_filter,
)
from rollway.emulator.state import Emulator

INSIGHTS = "/providers/Microsoft.Insights"
INTERVALS = ("PT1M", "PT5M", "PT15M", "PT30M", "PT1H", "PT6H", "PT12H", "P1D")
DEFAULT_SPAN_SECONDS = 3600
MAX_SPAN_SECONDS = 30 * 86400
DEFAULT_TOP = 10  # series, if there is a filter; the others are left out without a word


def list_endpoint_metrics(call: Call) -> Response:
    return _metrics(call, require_endpoint(call), None)


def list_deployment_metrics(call: Call) -> Response:
    return _metrics(call, require_endpoint(call), require_deployment(call))


def list_endpoint_definitions(call: Call) -> Response:
    return _definitions(require_endpoint(call), ENDPOINT_KIND)


def list_deployment_definitions(call: Call) -> Response:
    return _definitions(require_deployment(call), DEPLOYMENT_KIND)


def _metrics(call: Call, endpoint: Resource, deployment: Resource | None) -> Response:
    """Return the response to `metrics.list`. A point without data has only a time."""
    kind, resource = (ENDPOINT_KIND, endpoint) if deployment is None else (DEPLOYMENT_KIND, deployment)
    wanted = [_find(kind, name) for name in (call.query("metricnames") or METRICS[kind][0].name).split(",")]
    start, end = _timespan(call)
    interval = call.query("interval") or "PT1M"
    if interval not in INTERVALS:
        raise _bad_request(f"Invalid interval '{interval}': use one of {', '.join(INTERVALS)}.")
    body: Document = {
        "cost": 0,
        "timespan": f"{format_iso_seconds(start)}/{format_iso_seconds(end)}",
        "interval": interval,
        "namespace": f"{PROVIDER}/{kind}",
        "resourceregion": resource.document["location"],
        "value": [_metric_document(call, metric, endpoint, deployment, (start, end, interval)) for metric in wanted],
    }
    return JSONResponse(body)


def _metric_document(
    call: Call, metric: Metric, endpoint: Resource, deployment: Resource | None, span: tuple[float, float, str]
) -> Document:
    start, end, interval = span
    try:
        wanted = parse_filter(call.query("$filter") or "", metric.dimensions)
    except FilterError as exc:
        raise _bad_request(f"Invalid filter: {exc}.") from exc
    last = math.ceil((min(end, call.emulator.clock.now() - lag_seconds(call.emulator) + 1)) / 60) - 1
    minutes = [
        one
        for one in call.emulator.samples.between(endpoint, int(start // 60), last)
        if deployment is None or one[1].lower() == deployment.name.lower()
    ]
    found = build_series(metric, minutes, wanted) or ({} if wanted.clauses else {(): {}})
    top = _top(call) if wanted.clauses else len(found)
    return {
        "id": f"{(deployment or endpoint).id}{INSIGHTS}/metrics/{metric.name}",
        "type": "Microsoft.Insights/metrics",
        "name": _localizable(metric.name),
        "displayDescription": metric.name,
        "unit": metric.unit,
        "timeseries": [
            {
                "metadatavalues": _metadata(wanted, key),
                "data": _data_points(points, start, end, interval, _aggregations(call)),
            }
            for key, points in list(found.items())[:top]
        ],
        "errorCode": "Success",
    }


def _data_points(
    points: dict[int, float], start: float, end: float, interval: str, aggregations: list[str]
) -> list[Document]:
    seconds = int(parse_duration(interval) or 60)
    first = int(start // seconds) * seconds
    data: list[Document] = []
    for at in range(first, math.ceil(end), seconds):
        values = [points[number] for number in range(at // 60, (at + seconds) // 60) if number in points]
        found = {name: AGGREGATIONS[name](values) for name in aggregations} if values else {}
        data.append({"timeStamp": format_iso_seconds(at), **found})
    return data


def lag_seconds(emulator: Emulator) -> float:
    """Return the age, in seconds, at which a minute of metrics can be read."""
    lag = emulator.seed.scoring.metrics_lag_seconds
    return emulator.profile.seconds("metrics arrive") if lag is None else lag


def _aggregations(call: Call) -> list[str]:
    names = [name.strip().lower() for name in (call.query("aggregation") or "average").split(",")]
    for name in names:
        if name not in AGGREGATIONS:
            raise _bad_request(f"Invalid aggregation '{name}': use one of {', '.join(AGGREGATIONS)}.")
    return names


def _top(call: Call) -> int:
    text = call.query("top") or str(DEFAULT_TOP)
    if not (top := parse_whole(text)):
        raise _bad_request(f"Invalid top '{text[:80]}': use a number of series above 0.")
    return top


def _timespan(call: Call) -> tuple[float, float]:
    text, now = call.query("timespan"), call.emulator.clock.now()
    if not text:
        return now - DEFAULT_SPAN_SECONDS, now
    if (seconds := parse_duration(text)) is not None:
        return now - min(seconds, MAX_SPAN_SECONDS), now
    try:
        start, end = (_parse_time(part) for part in text.split("/"))
    except (ValueError, OverflowError) as exc:
        raise _bad_request(f"Invalid timespan '{text}': use start/end, such as 2026-01-31T12:00:00Z/...") from exc
    if not 0 < end - start <= MAX_SPAN_SECONDS:
        raise _bad_request(f"Invalid timespan '{text}': its end must follow its start, within 30 days.")
    return start, end


def _parse_time(text: str) -> float:
    """Return a time in seconds since the epoch. Raise ValueError or OverflowError if it has no date in UTC."""
    at = datetime.fromisoformat(text)
    seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    datetime.fromtimestamp(seconds, UTC)  # years 1 to 9999
    return seconds


def _find(kind: str, name: str) -> Metric:
    for metric in METRICS[kind]:
        if metric.name.lower() == name.strip().lower():
            return metric
    valid = ",".join(metric.name for metric in METRICS[kind])
    raise _bad_request(
        f"Failed to find metric configuration for provider: {PROVIDER}, resource Type: {kind}, metric: {name}, "
        f"Valid metrics: {valid}"
    )


def _metadata(wanted: Filter, key: tuple[str, ...]) -> list[Document]:
    return [{"name": _localizable(name), "value": value} for name, value in zip(wanted.dimensions, key, strict=False)]


def _definitions(resource: Resource, kind: str) -> Response:
    """Return the response to `metric_definitions.list`."""
    availabilities = [{"timeGrain": interval, "retention": "P1D"} for interval in INTERVALS]
    value = [
        {
            "id": f"{resource.id}{INSIGHTS}/metricdefinitions/{metric.name}",
            "resourceId": resource.id,
            "namespace": f"{PROVIDER}/{kind}",
            "name": _localizable(metric.name),
            "displayDescription": metric.name,
            "isDimensionRequired": False,
            "unit": metric.unit,
            "primaryAggregationType": "Average",
            "supportedAggregationTypes": [name.capitalize() for name in AGGREGATIONS],
            "metricAvailabilities": availabilities,
            "dimensions": [_localizable(name) for name in metric.dimensions],
        }
        for metric in METRICS[kind]
    ]
    return JSONResponse({"value": value})


def _localizable(name: str) -> Document:
    return {"value": name, "localizedValue": name}


def _bad_request(message: str) -> ArmError:
    return ArmError(400, "BadRequest", message, from_service=False)


ROUTES = [
    workspace_route("GET", f"{ENDPOINT_PATH}{INSIGHTS}/metrics", list_endpoint_metrics),
    workspace_route("GET", f"{ENDPOINT_PATH}{INSIGHTS}/metricDefinitions", list_endpoint_definitions),
    workspace_route("GET", f"{DEPLOYMENT_PATH}{INSIGHTS}/metrics", list_deployment_metrics),
    workspace_route("GET", f"{DEPLOYMENT_PATH}{INSIGHTS}/metricDefinitions", list_deployment_definitions),
]
