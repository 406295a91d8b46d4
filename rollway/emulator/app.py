"""The emulator's web application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rollway.emulator.arm import (
    assets,
    capacity,
    endpoints,
    kubernetes,
    online_deployments,
    permissions,
    registry,
    skus,
    workspaces,
)
from rollway.emulator.arm.provisioning import resume_operations
from rollway.emulator.arm.resource_manager import DATA_PLANE, ResourceManager
from rollway.emulator.arm.seeded_models import create_seeded_models
from rollway.emulator.blob import blobs
from rollway.emulator.blob.requests import serve_blob
from rollway.emulator.control.api import ControlApi, RequestRecorder
from rollway.emulator.control.page import get_page
from rollway.emulator.control.trial import TRIAL_PATH, post_trial
from rollway.emulator.core import errors
from rollway.emulator.core.clock import Clock, format_http_date
from rollway.emulator.login.identity import (
    get_app_service_token,
    get_instance_token,
    get_openid_configuration,
    post_token,
)
from rollway.emulator.monitor import autoscale, metrics_api
from rollway.emulator.monitor.autoscaler import Autoscaler
from rollway.emulator.monitor.usage import watch_usage
from rollway.emulator.scoring.gateway import Gateway
from rollway.emulator.sidecar.services import serve_containers
from rollway.emulator.state import Emulator, log_failure

CLOUD = "LocalCloud"
ARM_ROUTES = [
    *workspaces.ROUTES,
    *capacity.ROUTES,
    *kubernetes.ROUTES,
    *assets.ROUTES,
    *endpoints.ROUTES,
    *online_deployments.ROUTES,
    *skus.ROUTES,
    *permissions.ROUTES,
    *registry.ROUTES,
    *metrics_api.ROUTES,
    *autoscale.ROUTES,
]
ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def build_app(emulator: Emulator) -> ASGIApp:
    """Return the ASGI application. Its lifespan starts and stops the containers."""
    arm = ResourceManager(emulator, ARM_ROUTES)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        workspaces.create_seeded_workspaces(emulator)
        create_seeded_models(emulator)
        async with serve_containers(emulator):
            resume_operations(emulator)
            watchers = [
                asyncio.create_task(watch, name=f"watch {name}")
                for name, watch in (
                    ("containers", emulator.fleet.watch()),
                    ("usage", watch_usage(emulator)),
                    ("autoscale", Autoscaler(emulator, arm).watch()),
                )
            ]
            for watcher in watchers:
                watcher.add_done_callback(log_failure)
            try:
                yield
            finally:
                for watcher in watchers:
                    watcher.cancel()
                await asyncio.gather(*watchers, return_exceptions=True)
                await emulator.stop_work()

    async def serve_other(request: Request) -> Response:
        if request.url.path.removeprefix(DATA_PLANE).lower().startswith("/subscriptions/"):
            return await arm.serve(request)
        raise errors.not_emulated(request.method, request.url.path)

    app = Starlette(
        routes=[
            *ControlApi(emulator).routes(),
            Route("/", get_page),
            Route(TRIAL_PATH, post_trial, methods=["POST"]),
            Route("/metadata/endpoints", get_cloud_metadata),
            Route("/{tenant}/v2.0/.well-known/openid-configuration", get_openid_configuration),
            Route("/metadata/identity/oauth2/token", get_instance_token),
            Route("/registrymanagement/v1.0/registries/{name}/discovery", registry.get_discovery),
            Route("/msi/token", get_app_service_token),
            Route("/{tenant}/oauth2/v2.0/token", post_token, methods=["POST"]),
            Route(f"{blobs.ROOT}/{{path:path}}", serve_blob, methods=ALL_METHODS),
            Route("/{path:path}", serve_other, methods=ALL_METHODS),
        ],
        exception_handlers={errors.EmulatedError: handle_error, Exception: handle_bug},
        lifespan=lifespan,
    )
    app.state.emulator = emulator
    app.state.gateway = Gateway(emulator, app)
    return Dated(RequestRecorder(app.state.gateway, emulator), emulator.clock)


class Dated:
    """ASGI middleware that adds the header `Date`, by the emulator's clock, to every response."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app, self._clock = app, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = (b"date", format_http_date(self._clock.now()).encode())
                message = {**message, "headers": [*message.get("headers", ()), date]}
            await send(message)

        await self._app(scope, receive, send_dated)


async def handle_error(request: Request, error: Exception) -> Response:
    """Return the response of an error that the emulator raises on purpose."""
    assert isinstance(error, errors.EmulatedError)  # noqa: S101 - registered for this type only
    if isinstance(error, errors.ArmError):
        error.origin = request.app.state.emulator.origin
    return error.response()


async def handle_bug(request: Request, _: Exception) -> Response:
    """Return Azure's InternalServerError for a bug. Starlette logs the traceback."""
    return await handle_error(request, errors.internal_error())


async def get_cloud_metadata(request: Request) -> Response:
    """GET `/metadata/endpoints`: the emulator's cloud metadata. azure-ai-ml requests it often, without a token."""
    emulator: Emulator = request.app.state.emulator
    cloud = {
        "name": CLOUD,
        # azure-ai-ml derives the audience https://ml.azure.com from the portal's host name.
        "portal": "https://portal.azure.com",
        "resourceManager": f"{emulator.url}/",
        "authentication": {
            "loginEndpoint": emulator.url,
            "audiences": [emulator.url, f"{emulator.url}/"],
            "tenant": emulator.seed.tenant_id,
            "identityProvider": "AAD",
        },
        "suffixes": {"storage": blobs.SUFFIX},
    }
    return JSONResponse([cloud])
