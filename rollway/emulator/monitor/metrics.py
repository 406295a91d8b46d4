"""Azure Monitor's metrics of endpoints and online deployments: definitions, filters and time series."""

import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rollway.emulator.core.samples import Minute

Dimensions = Mapping[str, str]
Rows = list[tuple[Dimensions, Sequence[float]]]
ENDPOINT_KIND, DEPLOYMENT_KIND = "workspaces/onlineEndpoints", "workspaces/onlineEndpoints/deployments"
AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "average": statistics.fmean,
    "minimum": min,
    "maximum": max,
    "total": sum,
    "count": len,
}
UNKNOWN = "unknown"  # value of a dimension without one: a refused request has no online deployment and model status


class FilterError(ValueError):
    """The `$filter` is invalid."""


@dataclass(frozen=True)
class Metric:
    """A metric (monitor-azure-machine-learning-reference).

    Args:
        rows: Returns the values of one online deployment in one minute, by dimension.
        point: Combines all values of a minute that pass the filter into one.
    """

    name: str
    unit: str
    dimensions: tuple[str, ...]
    rows: Callable[[str, Minute], Rows]
    point: Callable[[Sequence[float]], float]


def _endpoint_requests(deployment: str, minute: Minute) -> Rows:
    return [
        (
            {
                "deployment": deployment or UNKNOWN,
                "statusCode": str(status),
                "statusCodeClass": f"{status // 100}xx",
                "modelStatusCode": model_status or UNKNOWN,
            },
            [count],
        )
        for (status, model_status), count in minute.statuses.items()
    ]


def _deployment_requests(_: str, minute: Minute) -> Rows:
    statuses = minute.statuses + minute.copied_statuses
    return [({"envoy_response_code": str(status)}, [count]) for (status, _), count in statuses.items()]


def _latencies(deployment: str, minute: Minute) -> Rows:
    return [({"deployment": deployment}, minute.latencies_ms)] if minute.latencies_ms else []


def _deployment_latencies(_: str, minute: Minute) -> Rows:
    latencies = minute.latencies_ms + minute.copied_latencies_ms
    return [({}, latencies)] if latencies else []


def _bytes(_: str, minute: Minute) -> Rows:
    return [({}, [minute.byte_count / 60])] if minute.statuses else []


def _cpu(_: str, minute: Minute) -> Rows:
    return [({"instanceId": name}, usage.cpu) for name, usage in minute.instances.items() if usage.cpu]


def _memory(_: str, minute: Minute) -> Rows:
    return [({"instanceId": name}, usage.memory) for name, usage in minute.instances.items() if usage.memory]


def _capacity(_: str, minute: Minute) -> Rows:
    return [({"instanceId": name, "State": usage.state}, [1]) for name, usage in minute.instances.items()]


def _percentile(share: float) -> Callable[[Sequence[float]], float]:
    return lambda values: sorted(values)[min(int(share * len(values)), len(values) - 1)]


def _latency_metrics(dimensions: tuple[str, ...], rows: Callable[[str, Minute], Rows]) -> list[Metric]:
    return [
        Metric(f"RequestLatency_P{percent}", "MilliSeconds", dimensions, rows, _percentile(percent / 100))
        for percent in (50, 90, 95, 99)
    ]


REQUEST_DIMENSIONS = ("deployment", "statusCode", "statusCodeClass", "modelStatusCode")
METRICS: dict[str, list[Metric]] = {
    ENDPOINT_KIND: [
        Metric("RequestsPerMinute", "Count", REQUEST_DIMENSIONS, _endpoint_requests, sum),
        Metric("RequestLatency", "MilliSeconds", ("deployment",), _latencies, statistics.fmean),
        *_latency_metrics(("deployment",), _latencies),
        Metric("NetworkBytes", "BytesPerSecond", (), _bytes, sum),
    ],
    DEPLOYMENT_KIND: [
        Metric("RequestsPerMinute", "Count", ("envoy_response_code",), _deployment_requests, sum),
        *_latency_metrics((), _deployment_latencies),
        Metric("CpuUtilizationPercentage", "Percent", ("instanceId",), _cpu, statistics.fmean),
        Metric("CpuMemoryUtilizationPercentage", "Percent", ("instanceId",), _memory, statistics.fmean),
        Metric("DeploymentCapacity", "Count", ("instanceId", "State"), _capacity, sum),
    ],
}


@dataclass(frozen=True)
class Filter:
    """A parsed `$filter`: every clause must hold, and a clause holds if any of its conditions does.

    A condition is a dimension, True for `eq` or False for `ne`, and a value.
    """

    clauses: tuple[tuple[tuple[str, bool, str], ...], ...] = ()

    @property
    def dimensions(self) -> list[str]:
        """Dimensions in the filter. Results are split by them."""
        return list(dict.fromkeys(name for clause in self.clauses for name, _, _ in clause))

    def allows(self, dimensions: Dimensions) -> bool:
        """Return True if a row with these dimensions passes the filter."""
        return all(any(_holds(dimensions, *condition) for condition in clause) for clause in self.clauses)


def _holds(dimensions: Dimensions, name: str, is_equal: bool, value: str) -> bool:
    return value == "*" or (dimensions[name].lower() == value.lower()) is is_equal


def parse_filter(text: str, dimensions: Sequence[str]) -> Filter:
    """Return the filter of a text such as `deployment eq 'green' and (statusCode eq '408' or statusCode eq '424')`.

    Raises FilterError.
    """
    spelled = {name.lower(): name for name in dimensions}
    clauses = []
    for clause in _split(re.findall(r"'[^']*'|[^\s()']+|'", text), "and"):
        conditions = []
        for condition in _split(clause, "or"):
            if len(condition) != 3 or condition[1].lower() not in ("eq", "ne") or not condition[2].startswith("'"):
                raise FilterError(f"'{' '.join(condition)}' is not a condition such as: deployment eq 'blue'")
            name = spelled.get(condition[0].lower())
            if name is None:
                raise FilterError(f"'{condition[0]}' is not a dimension; there is: {', '.join(dimensions) or 'none'}")
            conditions.append((name, condition[1].lower() == "eq", condition[2].strip("'")))
        if len({name for name, _, _ in conditions}) > 1:  # the documentation of `filter` in azure-mgmt-monitor
            raise FilterError("the logical or operator cannot separate two different metadata names")
        clauses.append(tuple(conditions))
    return Filter(tuple(clauses))


def _split(tokens: list[str], word: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token.lower() == word:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts if tokens else []


Series = dict[tuple[str, ...], dict[int, float]]


def build_series(metric: Metric, minutes: Iterable[tuple[int, str, Minute]], wanted: Filter) -> Series:
    """Return the metric per minute, for each combination of values of the filter's dimensions."""
    found: dict[tuple[str, ...], dict[int, list[float]]] = {}
    for number, deployment, minute in minutes:
        for dimensions, values in metric.rows(deployment, minute):
            if wanted.allows(dimensions):
                key = tuple(dimensions[name] for name in wanted.dimensions)
                found.setdefault(key, {}).setdefault(number, []).extend(values)
    return {
        key: {number: metric.point(values) for number, values in points.items()}
        for key, points in sorted(found.items())
    }
