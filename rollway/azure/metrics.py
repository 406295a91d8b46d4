"""Requests of an endpoint by the minute, from Azure Monitor.

The whole window is read each time, because late requests change minutes that were read before. The names of metrics and
dimensions are those of "Supported metrics for Microsoft.MachineLearningServices/workspaces/onlineEndpoints".
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rollway.azure.errors.known import READ_METRICS
from rollway.azure.errors.translate import azure_errors
from rollway.azure.session import Session
from rollway.azure.threads import in_thread
from rollway.errors import AzureUnavailable
from rollway.rollout.evidence import Counts, Minute, count_statuses

MOST_SERIES = 100  # Azure's default is 10 once a filter is given, and leaves out the others without a word
MOST_HOURS = 24  # of a query: 1440 points of each series
MINUTE = timedelta(minutes=1)
REQUESTS, LATENCY = "RequestsPerMinute", "RequestLatency_P{percentile}"
Key = tuple[str, datetime]  # online deployment, in lower case, and minute


@dataclass(frozen=True)
class _Source:
    """A resource with metrics: an endpoint, or one of its online deployments.

    Args:
        status: The dimension with the gateway's status.
        wanted: Filter for online deployments of the endpoint. Empty if the resource is an online deployment.
        online_deployment: Its name, if the resource is one.
    """

    id: str
    status: str
    wanted: str = ""
    online_deployment: str = ""


@dataclass
class _Readings:
    statuses: dict[Key, Counter[int]] = field(default_factory=dict)
    latencies: dict[Key, float] = field(default_factory=dict)  # in seconds

    def replace_with(self, other: "_Readings") -> None:
        self.statuses |= other.statuses
        self.latencies |= other.latencies

    def counts(self, names: Sequence[str], at: datetime) -> Counts:
        """Return the sum of online deployments in a minute, with the latency of the first one."""
        together: Counter[int] = Counter()
        for name in names:
            together += self.statuses.get((name, at), Counter())
        return count_statuses(together, self.latencies.get((names[0], at)) if names else None)


async def read_minutes(
    session: Session,
    endpoint: str,
    canary: str,
    stable: Sequence[str],
    percentile: int,
    start: datetime,
    end: datetime,
    live_since: datetime | None = None,
) -> tuple[Minute, ...]:
    """Return the minutes of a window in which there was a request; the last minute is over at `end`.

    Raises AccessDenied if the identity may not read metrics, and AzureUnavailable.

    Args:
        stable: The online deployments that canary is compared with, heaviest first. Their requests are added up; the
            latency is that of the first one.
        percentile: The latency percentile.
        live_since: When the canary got traffic. Before it, it has only copies of requests, which Azure counts for the
            online deployment and not for the endpoint.
    """
    resource = session.workspace.endpoint_id(endpoint)
    # Without brackets, as in the SDK's documentation of `filter`: "or" joins the values of one dimension.
    ours = " or ".join(f"deployment eq '{name}'" for name in (canary, *stable))
    whole = _Source(resource, "statuscode", wanted=ours)
    own = _Source(f"{resource}/deployments/{canary}", "envoy_response_code", online_deployment=canary.lower())
    first, end = _minute_of(start), _minute_of(end)
    windows = [(whole, end)]
    if live_since is None or start < live_since:  # the minute of the first traffic has copies, too
        windows.append((own, end if live_since is None else min(end, _minute_of(live_since) + MINUTE)))
    found = _Readings()
    with azure_errors(f"cannot read the metrics of {endpoint!r}", where=f"endpoint {endpoint}", hint=READ_METRICS):
        for source, until in windows:
            for begin, stop in _days(first, until):
                # An online deployment counts its copies and what the endpoint counts.
                found.replace_with(await in_thread(_read, session, source, percentile, begin, stop))
    return tuple(
        Minute(
            at=at,
            canary=found.counts([canary.lower()], at),
            stable=found.counts([name.lower() for name in stable], at),
        )
        for at in sorted({at for _, at in found.statuses if at + MINUTE <= end})
    )


async def requests_of_last_hour(session: Session, endpoint: str) -> float:
    """Return the requests of an endpoint in the last hour; raises AccessDenied and AzureUnavailable."""
    resource = session.workspace.endpoint_id(endpoint)
    with azure_errors(f"cannot read the metrics of {endpoint!r}", where=f"endpoint {endpoint}", hint=READ_METRICS):
        points = await in_thread(lambda: list(_list(session, resource, REQUESTS, "Total", timespan="PT1H")))
    return float(sum(point.total or 0 for _, point in points))


def _read(session: Session, source: _Source, percentile: int, start: datetime, end: datetime) -> _Readings:
    found = _Readings()
    timespan = f"{start:%Y-%m-%dT%H:%M:%SZ}/{end:%Y-%m-%dT%H:%M:%SZ}"
    by_status = " and ".join(part for part in (source.wanted, f"{source.status} eq '*'") if part)
    for dimensions, point in _list(session, source.id, REQUESTS, "Total", timespan, by_status):
        if point.total and (status := dimensions.get(source.status, "")).isdecimal():
            counted = found.statuses.setdefault(_key(source, dimensions, point), Counter())
            counted[int(status)] += round(point.total)
    metric = LATENCY.format(percentile=percentile)
    for dimensions, point in _list(session, source.id, metric, "Average", timespan, source.wanted):
        if point.average is not None:
            found.latencies[_key(source, dimensions, point)] = point.average / 1000
    return found


def _list(
    session: Session, resource: str, metric: str, aggregation: str, timespan: str, wanted: str = ""
) -> Iterator[tuple[Mapping[str, str], Any]]:
    """Yield the dimensions, in lower case, and a point, for each point of a metric."""
    answer: Any = session.monitor.metrics.list(
        resource,
        timespan=timespan,
        interval="PT1M",
        metricnames=metric,
        aggregation=aggregation,
        filter=wanted or None,
        top=MOST_SERIES if wanted else None,
    )
    for one in answer.value:
        if one.error_code not in (None, "Success"):  # an answer with HTTP status 200 and without points
            raise AzureUnavailable(
                f"cannot read the metric {metric!r}",
                where=resource,
                why=f"{one.error_code}: {one.error_message}",
                hint="run it again in a minute",
            )
        for series in one.timeseries:
            dimensions = {pair.name.value.lower(): str(pair.value).lower() for pair in series.metadatavalues or []}
            for point in series.data or []:
                yield dimensions, point


def _key(source: _Source, dimensions: Mapping[str, str], point: Any) -> Key:
    return dimensions.get("deployment", source.online_deployment), _minute_of(point.time_stamp)


def _days(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the windows of queries."""
    while start < end:
        until = min(end, start + timedelta(hours=MOST_HOURS))
        yield start, until
        start = until


def _minute_of(at: datetime) -> datetime:
    """Return the start of a minute, in UTC."""
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).replace(second=0, microsecond=0)
