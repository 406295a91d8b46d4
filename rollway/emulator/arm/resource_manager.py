"""Entry point of Azure Resource Manager: checks token, rights, api-version and scope, and calls the operation."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.headers import common_headers, error_headers, service_headers, signed
from rollway.emulator.core import errors, faults
from rollway.emulator.core.clock import format_iso, format_iso_offset
from rollway.emulator.core.errors import Document
from rollway.emulator.core.lags import Reader, profile_lags
from rollway.emulator.core.operations import RESULTS, STATUS, Operation
from rollway.emulator.core.roles import is_allowed
from rollway.emulator.core.store import Resource
from rollway.emulator.login.identity import AZURE_ML
from rollway.emulator.state import Emulator

log = logging.getLogger("rollway.emulator.arm.resource_manager")

PROVIDER = "Microsoft.MachineLearningServices"
WORKSPACE_PATH = (
    f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{PROVIDER}/workspaces/{{workspace}}"
)
MAX_NAME_CHARACTERS = 260
OPERATION_ADDRESS = "AzureAsyncOperationUri"  # in the property bag of an endpoint or online deployment
DATA_PLANE = "/mferp/managementfrontend"  # prefix of ARM paths of registries, which Azure ML serves itself
VERBS = {"GET": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete", "POST": "action"}


@dataclass(frozen=True)
class Call:
    """One authorized request to an operation."""

    emulator: Emulator
    request: Request
    params: Mapping[str, str]
    body: Document
    client_id: str

    @property
    def workspace(self) -> Resource:
        """Workspace in the path. Raises the 404."""
        found = self.emulator.store.get(WORKSPACE_PATH.format(**self.params))
        if found is None:
            raise errors.workspace_not_found(self.params["group"], self.params["workspace"])
        return found

    def id(self, tail: str) -> str:
        """Return the ARM id of a resource in the workspace. `tail` is a template with the path's parameters."""
        return self.workspace.id + tail.format(**self.params)

    def query(self, name: str) -> str | None:
        """Return a query parameter, or None. Names ignore case."""
        for key, value in self.request.query_params.items():
            if key.lower() == name.lower():
                return value
        return None

    def system_data(self, before: Document | None = None) -> Document:
        """Return the resource's `systemData`: creator and last editor, with times."""
        now = format_iso(self.emulator.clock.now())
        changed = {"lastModifiedAt": now, "lastModifiedBy": self.client_id, "lastModifiedByType": "Application"}
        if before is not None:
            return {**before["systemData"], **changed}
        return {"createdAt": now, "createdBy": self.client_id, "createdByType": "Application", **changed}

    def endpoint_system_data(self, before: Document | None = None) -> Document:
        """Return the `systemData` of an endpoint or online deployment, which has fewer fields."""
        now = format_iso_offset(self.emulator.clock.now())
        created = {"createdAt": now, "createdBy": self.client_id} if before is None else before["systemData"]
        return {**created, "lastModifiedAt": now}


Handler = Callable[[Call], Response]


@dataclass(frozen=True)
class ArmRoute:
    """An operation. Handlers are synchronous, so no other request runs between their reads and their writes.

    Args:
        path: Template. `{name}` stands for one segment, `{name:path}` for one or more.
        needs_right: False if every principal may call it.
    """

    method: str
    path: str
    handler: Handler
    needs_right: bool = True

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parameters in the path, or None if the path is another operation's."""
        return None if (found := self._pattern.fullmatch(path)) is None else found.groupdict()

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        segments = re.sub(r"\\{(\w+):path\\}", r"(?P<\1>.+)", re.escape(self.path))
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", segments), re.IGNORECASE)

    @property
    def action(self) -> str:
        """Required right, for example `Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write`."""
        words = [word for word in self.path.rpartition("/providers/")[2].split("/") if not word.startswith("{")]
        return f"{'/'.join(words)}/{VERBS[self.method]}"


def workspace_route(method: str, tail: str, handler: Handler) -> ArmRoute:
    """Return the route of an operation in a workspace."""
    return ArmRoute(method, WORKSPACE_PATH + tail, handler)


class ResourceManager:
    """All operations below `/subscriptions`."""

    def __init__(self, emulator: Emulator, routes: list[ArmRoute]) -> None:
        self._emulator, self._routes = emulator, routes

    async def serve(self, request: Request) -> Response:
        """Check the request, call its operation and return the response, which may be an error of ARM."""
        headers = common_headers()
        try:
            response = await self.call(request, headers)
        except errors.ArmError as exc:
            exc.origin = self._emulator.origin
            response = exc.response()
        response.headers.update(headers)
        return response

    async def call(self, request: Request, common: Mapping[str, str]) -> Response:
        """Check the request and call its operation. Raises ArmError.

        Args:
            common: The response's common headers. They are not added.
        """
        started = time.perf_counter()
        emulator, path = self._emulator, request.url.path.removeprefix(DATA_PLANE).rstrip("/")
        audiences: tuple[str, ...] = emulator.identity.arm_audiences
        if request.url.path.startswith(DATA_PLANE):
            audiences = (*audiences, AZURE_ML)
        client_id = emulator.identity.check_token(request.headers.get("authorization"), audiences)
        remaining = emulator.throttle.acquire(client_id, request.method, path)
        try:
            route, params = self._find(request.method, path)
            response = await self._call_route(route, params, request, client_id)
        except errors.ArmError as exc:
            if exc.from_service:
                exc.headers.update(error_headers(emulator, common, client_id, time.perf_counter() - started))
            exc.headers.update(remaining)
            raise
        seconds, is_workspace = time.perf_counter() - started, route.path == WORKSPACE_PATH
        response.headers.update(service_headers(emulator, common, client_id, seconds, is_workspace=is_workspace))
        response.headers.update(remaining)
        return response

    async def _call_route(self, route: ArmRoute, params: dict[str, str], request: Request, client_id: str) -> Response:
        _check_names(params)
        self._authorize(client_id, route, request.url.path.removeprefix(DATA_PLANE).rstrip("/"))
        _check_api_version(request)
        self._check_scope(params)
        call = Call(self._emulator, request, params, await _read_body(request), client_id)
        self._emulator.operations.end_due()
        response = route.handler(call)
        await asyncio.sleep(0)  # lets tasks that the handler created start
        return response

    def _find(self, method: str, path: str) -> tuple[ArmRoute, dict[str, str]]:
        for route in self._routes:
            if route.method == method and (params := route.match(path)) is not None:
                return route, params
        log.warning("not emulated: %s %s", method, path)
        raise errors.not_emulated(method, path)

    def _authorize(self, client_id: str, route: ArmRoute, path: str) -> None:
        principal = self._emulator.seed.principal(client_id)
        if principal is None or (route.needs_right and not is_allowed(principal.role, route.action)):
            raise errors.authorization_failed(client_id, route.action, path)

    def _check_scope(self, params: dict[str, str]) -> None:
        """Raise the 404 for the first part of the path that does not exist."""
        if params["subscription"].lower() != self._emulator.seed.subscription_id.lower():
            raise errors.subscription_not_found(params["subscription"])
        groups = {one.resource_group.lower() for one in self._emulator.seed.workspaces}
        if "group" in params and params["group"].lower() not in groups:
            raise errors.resource_group_not_found(params["group"])
        if "workspace" in params and self._emulator.store.get(WORKSPACE_PATH.format(**params)) is None:
            raise errors.workspace_not_found(params["group"], params["workspace"])


def _check_names(params: Mapping[str, str]) -> None:
    """Raise the 400 for names that would change the folder, or that Azure's naming rules forbid for all resources."""
    for name in params.values():
        if name in (".", "..") or len(name) > MAX_NAME_CHARACTERS or re.search(r"[\x00-\x1f\x7f<>%&\\?]", name):
            raise errors.invalid_resource_name(name)


def _check_api_version(request: Request) -> None:
    version = request.query_params.get("api-version")
    if not version:
        raise errors.missing_api_version()
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(-[a-z]*preview)?", version):
        raise errors.invalid_api_version(version)


async def _read_body(request: Request) -> Document:
    if request.method in ("GET", "DELETE"):
        return {}
    content = await request.body()
    if not content:
        return {}
    try:
        body: Any = json.loads(content)
        # Python reads values that are not JSON, such as NaN and lone surrogates. This raises ValueError for them.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as exc:
        raise errors.invalid_content(str(exc)) from exc
    if not isinstance(body, dict):
        raise errors.invalid_content(f"an object is expected, not {type(body).__name__}")
    return body


def lags_of(call: Call) -> dict[Reader, float]:
    """Return the seconds by which each reader lags behind the write that the request makes."""
    emulator, request = call.emulator, call.request
    usual = emulator.seed.lag_seconds.resolve(profile_lags(emulator.profile))
    return faults.find_lags(emulator.faults, request.method, request.url.path).resolve(usual)


def paginate(
    call: Call, items: list[Document], default_size: int = 50, *, size: str = "$top", continued_by: str = "$skipToken"
) -> Response:
    """Return one page of a list. `nextLink` is the URL of the next page, even for pages of one.

    Args:
        size: Name of the parameter with the size of a page.
        continued_by: Name of the parameter that continues a list. Clients take its value from `nextLink`.
    """
    try:
        start, count = int(call.query(continued_by) or 0), int(call.query(size) or default_size)
    except ValueError as exc:
        raise errors.invalid_content(str(exc)) from exc
    if start < 0 or count < 1:
        raise errors.invalid_content(f"{continued_by} must be 0 or more, and {size} 1 or more")
    body: Document = {"value": items[start : start + count]}
    if start + count < len(items):
        sent = next((key for key in call.request.query_params if key.lower() == continued_by.lower()), continued_by)
        url = call.request.url.include_query_params(**{sent: str(start + count)})
        body["nextLink"] = call.emulator.url + str(url)[str(url).index(url.path) :]
    return JSONResponse(body)


def accepted_response(call: Call, operation: Operation, body: Document | None, status: int) -> Response:
    """Return the response that starts a long-running operation. A 202 locates its result, a 201 the resource.

    A PATCH has no body (the specification's examples), a DELETE the body `null` (recorded).
    """
    if status == 202:
        location = signed(operation_url(call, operation, RESULTS), call.emulator.clock.now())
    else:
        location = f"{call.emulator.url}{operation.resource}?api-version={call.query('api-version')}"
    headers = {
        "Azure-AsyncOperation": signed(operation_url(call, operation, STATUS), call.emulator.clock.now()),
        "Location": location,
        "x-ms-async-operation-timeout": "PT30M",
        **poll_headers(call.emulator),
    }
    return Response(None, status, headers) if operation.method == "PATCH" else JSONResponse(body, status, headers)


def operation_url(call: Call, operation: Operation, kind: str = STATUS) -> str:
    """Return the address of an operation's status or result, without a signature."""
    return f"{call.emulator.url}{operation.path(kind)}?api-version={call.query('api-version')}"


def shown_to(call: Call, document: Document) -> Document:
    """Return an endpoint or online deployment in which the address of its operation has the caller's api-version."""
    properties: Document = document["properties"]
    address = str(properties["properties"].get(OPERATION_ADDRESS) or "")
    if not address:
        return document
    shown = f"{address.partition('?')[0]}?api-version={call.query('api-version')}"
    bag = {**properties["properties"], OPERATION_ADDRESS: shown}
    return {**document, "properties": {**properties, "properties": bag}}


def poll_headers(emulator: Emulator) -> dict[str, str]:
    """Return the header that tells clients when to poll again, if the profile has one.

    It is in milliseconds, which azure-core supports. `Retry-After` cannot be shorter than a second.
    """
    milliseconds = emulator.profile.poll_after_ms
    return {} if milliseconds is None else {"retry-after-ms": str(milliseconds)}
