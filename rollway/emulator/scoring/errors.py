"""Errors of the scoring gateway."""

from collections.abc import Mapping

from starlette.responses import Response

from rollway.emulator.core.errors import EmulatedError


class GatewayError(EmulatedError):
    """A response of the scoring gateway itself, or its response for a container whose status is not 200."""

    def __init__(self, status: int, reason: str, message: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, reason, message)
        self.headers = headers or {}

    def response(self) -> Response:
        return Response(self.message, self.status, dict(self.headers), "text/plain")


def malformed_authorization() -> GatewayError:
    """Return the 401 for a request whose Authorization header is missing or malformed. The text is Azure's."""
    return GatewayError(401, "unauthorized", "key_auth_bad_header_forbidden", {"WWW-Authenticate": "Bearer"})


def wrong_credential() -> GatewayError:
    """Return the 401 for a wrong key, with Azure's text, and for a wrong token, whose text is not known."""
    return GatewayError(401, "unauthorized", "key_auth_access_denied", {"WWW-Authenticate": "Bearer"})


def scoring_forbidden() -> GatewayError:
    return GatewayError(403, "forbidden", "The identity has no permission 'score/action' on this endpoint.")


def public_access_disabled() -> GatewayError:
    message = "Public network access is disabled for this endpoint: it is reached through its private endpoint only."
    return GatewayError(403, "forbidden", message)


def body_too_large(limit_bytes: int) -> GatewayError:
    return GatewayError(413, "payload_too_large", f"The request is larger than {limit_bytes} bytes.")


def rate_limited() -> GatewayError:
    """Return the 429 for too many requests per second to an endpoint. `too_many_pending` is the model's own limit."""
    return GatewayError(429, "rate_limited", "The endpoint's limit of requests per second is exceeded.")


def no_such_endpoint(name: str) -> GatewayError:
    return GatewayError(404, "not_found", f"No endpoint named {name} in this region.")


def no_live_deployment() -> GatewayError:
    return GatewayError(
        404,
        "not_found",
        "No valid deployments to route to: give one a positive weight, or name one in the header.",
    )


def no_such_deployment(name: str) -> GatewayError:
    return GatewayError(404, "not_found", f"The endpoint has no online deployment named {name} to route to.")


def no_healthy_instance() -> GatewayError:
    """Return the 503 of the proxy that knows an online deployment but none of its instances yet."""
    return GatewayError(503, "service_unavailable", "no healthy upstream")


def scoring_timeout() -> GatewayError:
    return GatewayError(408, "model_timeout", "upstream request timeout", _model_headers(408, "model_timeout"))


def too_many_pending() -> GatewayError:
    headers = _model_headers(429, "too_many_pending_request")
    return GatewayError(429, "too_many_pending_request", "", headers)


def model_not_ready() -> GatewayError:
    message = "The container of the online deployment cannot be reached."
    return GatewayError(424, "model_not_ready", message, _model_headers(503, "model_not_ready"))


def model_error(status: int, body: str) -> GatewayError:
    """Return the gateway's response for a container's `status`. Only 200 passes unchanged."""
    if status == 200:
        return GatewayError(200, "", body)
    return GatewayError(424, "model_error", body, _model_headers(status, "model_error"))


def _model_headers(status: int, reason: str) -> dict[str, str]:
    return {"ms-azureml-model-error-statuscode": str(status), "ms-azureml-model-error-reason": reason}
