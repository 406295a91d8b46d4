"""Azure Monitor's autoscale settings and metrics in memory, behind the few calls that Rollway makes of them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import IO, Any, cast

from azure.core.exceptions import AzureError, HttpResponseError
from azure.mgmt.monitor.models import Response

from rollway.azure.session import Session
from rollway.settings import Workspace
from tests.support.builders import autoscale_document

WORKSPACE = Workspace(subscription_id="s", resource_group="rg", name="ws")
BLUE, GREEN = (f"{WORKSPACE.endpoint_id('diabetes')}/deployments/{name}" for name in ("blue", "green"))
PERMISSIONS_URL = (
    "https://arm/subscriptions/s/resourceGroups/rg/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
)
MAY_ALL: dict[str, Any] = {"value": [{"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}]}


@dataclass(frozen=True)
class Query:
    """A query for metrics, with the SDK's own names."""

    resource: str
    timespan: str
    metricnames: str
    aggregation: str
    interval: str
    filter: str | None
    top: int | None


@dataclass(frozen=True)
class Sample:
    """The value of a metric in one minute, for one combination of dimensions."""

    resource: str
    metric: str
    at: datetime
    value: float
    dimensions: Mapping[str, str]

    def answers(self, query: Query, end_is_included: bool) -> bool:
        """Return True if the sample is part of the answer."""
        start, _, end = query.timespan.partition("/")
        if end and self.at == datetime.fromisoformat(end) and not end_is_included:
            return False
        return (
            (self.resource, self.metric) == (query.resource, query.metricnames)
            and (not end or datetime.fromisoformat(start) <= self.at <= datetime.fromisoformat(end))
            and all(self._holds(clause) for clause in (query.filter or "").split(" and ") if clause)
        )

    def _holds(self, clause: str) -> bool:
        conditions = [re.fullmatch(r"(\w+) eq '([^']+)'", one) for one in clause.split(" or ")]
        wanted = {(one[1], one[2].lower()) for one in conditions if one}
        assert len(wanted) == len(conditions), clause
        ((name, _), *others) = wanted
        assert {other for other, _ in others} <= {name}, "the logical or operator cannot separate two names"
        value = {key.lower(): value.lower() for key, value in self.dimensions.items()}[name.lower()]
        return bool(wanted & {(name, value), (name, "*")})


class FakeMonitor:
    """Autoscale settings of the group `rg`, in pages of one, and metrics; `requests` tells every request, in order."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self.documents = {one["name"]: one for one in documents}
        self.permissions: dict[str, dict[str, Any]] = {PERMISSIONS_URL: MAY_ALL}
        self.errors: dict[str, AzureError] = {}  # by the first word of the request
        self.requests: list[str] = []
        self.samples: list[Sample] = []
        self.queries: list[Query] = []
        self.end_is_included = False  # in the answers to queries for metrics; Azure does not document it
        self.metric_error: dict[str, str] = {}  # of a metric in an answer with status 200
        self.metrics = SimpleNamespace(list=self._metrics)
        self.autoscale_settings = SimpleNamespace(
            list_by_resource_group=self._list, create_or_update=self._put, delete=self._delete
        )

    @property
    def session(self) -> Session:
        """The session whose clients talk to this fake."""
        return cast(
            Session,
            SimpleNamespace(workspace=WORKSPACE, monitor=self, arm_url="https://arm", read_arm=self.read_arm),
        )

    def read_arm(self, url: str) -> dict[str, Any]:
        """Return a page of permissions."""
        self._note("permissions")
        return self.permissions[url]

    def _note(self, request: str) -> None:
        self.requests.append(request)
        if error := self.errors.get(request.split(maxsplit=1)[0]):
            raise error

    def measure(self, resource: str, metric: str, at: datetime, value: float, **dimensions: str) -> None:
        """Add the value of a metric."""
        self.samples.append(Sample(resource, metric, at, value, dimensions))

    def _metrics(self, resource: str, **keywords: Any) -> Response:
        query = Query(resource, **keywords)
        self.queries.append(query)
        self._note("metrics")
        series: dict[tuple[tuple[str, str], ...], list[dict[str, Any]]] = {}
        for one in self.samples:
            if one.answers(query, self.end_is_included):
                point = {"timeStamp": one.at.isoformat(), query.aggregation.lower(): one.value}
                series.setdefault(tuple(one.dimensions.items()) if query.filter else (), []).append(point)
        found = [
            {"metadatavalues": [{"name": {"value": name}, "value": value} for name, value in key], "data": points}
            for key, points in series.items()
        ]
        metric = {"errorCode": "Success", "timeseries": found[: query.top or 10], **self.metric_error}
        document: dict[str, Any] = {"timespan": query.timespan, "value": [metric]}
        return Response.deserialize(document)

    def _list(self, group: str, raw_response_hook: Callable[[Any], None]) -> Iterator[object]:
        assert group == "rg"
        busy = SimpleNamespace(status_code=429, json=lambda: {"error": {"code": "TooManyRequests"}})
        raw_response_hook(SimpleNamespace(http_response=busy))
        for document in self.documents.values() or [None]:
            self._note("list")
            page = {"value": [document] if document else []}
            raw_response_hook(
                SimpleNamespace(http_response=SimpleNamespace(status_code=200, json=lambda page=page: page))
            )
            yield object()

    def _put(self, group: str, name: str, body: IO[bytes]) -> None:
        self._note(f"put {group}/{name}")
        self.documents[name] = {**autoscale_document(BLUE, name), **json.load(body)}

    def _delete(self, group: str, name: str) -> None:
        self._note(f"delete {group}/{name}")
        self.documents.pop(name, None)


def forbidden() -> HttpResponseError:
    """Return the refusal of an identity that lacks a role."""
    error = HttpResponseError("The client does not have authorization to perform this action.")
    error.status_code = 403
    return error
