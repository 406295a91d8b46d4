"""The emulator as one web application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from rollway.emulator import assets, blobs, endpoints, errors, online_deployments, workspaces
from rollway.emulator.arm import Arm
from rollway.emulator.blob_requests import serve_blob
from rollway.emulator.gateway import Gateway
from rollway.emulator.identity import get_openid_configuration, post_token
from rollway.emulator.provisioning import resume
from rollway.emulator.state import Emulator
from rollway.emulator.steering import Steering, Witness

CLOUD = "LocalCloud"
ARM_ROUTES = [*workspaces.ROUTES, *assets.ROUTES, *endpoints.ROUTES, *online_deployments.ROUTES]
ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def build_app(emulator: Emulator) -> ASGIApp:
    """The ASGI application; its lifespan starts and stops the containers."""
    gateway, arm = Gateway(emulator), Arm(emulator, ARM_ROUTES)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        workspaces.create_seeded_workspaces(emulator)
        resume(emulator)
        watch = asyncio.create_task(emulator.fleet.watch(), name="watch the containers")
        try:
            yield
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            await emulator.stop_work()
            await gateway.close()

    async def serve_anything_else(request: Request) -> Response:
        if request.url.path.lower().startswith("/subscriptions/"):
            return await arm.serve(request)
        raise errors.not_emulated(request.method, request.url.path)

    app = Starlette(
        routes=[
            *Steering(emulator).routes(),
            Route("/metadata/endpoints", get_cloud_metadata),
            Route("/{tenant}/v2.0/.well-known/openid-configuration", get_openid_configuration),
            Route("/{tenant}/oauth2/v2.0/token", post_token, methods=["POST"]),
            Route(f"{blobs.ROOT}/{{path:path}}", serve_blob, methods=ALL_METHODS),
            Route("/inference/{region}/{endpoint}/{route:path}", gateway.serve, methods=["GET", "POST", "OPTIONS"]),
            Route("/{path:path}", serve_anything_else, methods=ALL_METHODS),
        ],
        exception_handlers={errors.EmulatedError: answer_error, Exception: answer_bug},
        lifespan=lifespan,
    )
    app.state.emulator = emulator
    return Witness(app, emulator)


async def answer_error(_: Request, error: Exception) -> Response:
    """The answer of an error that Azure has too."""
    assert isinstance(error, errors.EmulatedError)  # noqa: S101 - registered for these only
    return error.response()


async def answer_bug(_: Request, __: Exception) -> Response:
    """The answer of a bug; Starlette hands the traceback on to the log."""
    return errors.internal_error().response()


async def get_cloud_metadata(request: Request) -> Response:
    """GET `/metadata/endpoints`: the cloud that the emulator is. azure-ai-ml asks for it without a token, and often."""
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
