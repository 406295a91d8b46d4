"""Errors of Microsoft Entra ID's token endpoint and of the managed identity endpoints."""

from datetime import UTC, datetime
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from rollway.emulator.core.errors import EmulatedError


class LoginError(EmulatedError):
    """An error of Microsoft Entra ID's token endpoint."""

    def __init__(self, status: int, error: str, number: int, message: str) -> None:
        super().__init__(status, error, message)
        self.number = number

    def response(self) -> Response:
        now, trace, correlation = datetime.now(UTC), str(uuid4()), str(uuid4())
        ids = f"Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now:%F %TZ}"
        text = f"AADSTS{self.number}: {self.message} {ids}"
        body = {
            "error": self.code,
            "error_description": text,
            "error_codes": [self.number],
            "timestamp": f"{now:%F %TZ}",
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={self.number}",
        }
        return JSONResponse(body, self.status)


def unknown_tenant(tenant: str) -> LoginError:
    message = f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."
    return LoginError(400, "invalid_request", 90002, message)


def unknown_application(client_id: str, tenant: str) -> LoginError:
    message = f"Application with identifier '{client_id}' was not found in the directory '{tenant}'."
    return LoginError(400, "unauthorized_client", 700016, message)


def invalid_client_secret(client_id: str) -> LoginError:
    message = (
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "
        f"not the client secret ID, for a secret added to app '{client_id}'."
    )
    return LoginError(401, "invalid_client", 7000215, message)


def missing_parameter(name: str) -> LoginError:
    message = f"The request body must contain the following parameter: '{name}'."
    return LoginError(400, "invalid_request", 900144, message)


def unsupported_grant(grant: str) -> LoginError:
    message = f"The app requested an unsupported grant type '{grant}'."
    return LoginError(400, "unsupported_grant_type", 70003, message)


def unknown_scope(scope: str) -> LoginError:
    message = (
        f"The resource principal named {scope} was not found in the tenant. Scopes have the form <resource>/.default."
    )
    return LoginError(400, "invalid_resource", 500011, message)


def missing_credential() -> LoginError:
    message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
    return LoginError(401, "invalid_client", 7000218, message)


def malformed_assertion(reason: str) -> LoginError:
    return LoginError(400, "invalid_request", 50027, f"JWT token is invalid or malformed. {reason}")


def unregistered_certificate(thumbprint: str) -> LoginError:
    message = (
        "The certificate with identifier used to sign the client assertion is not registered on application. "
        f"[Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}']"
    )
    return LoginError(401, "invalid_client", 700027, message)


def invalid_assertion_signature() -> LoginError:
    message = "Client assertion failed signature validation."
    return LoginError(401, "invalid_client", 700027, message)


def expired_assertion(now: str, expired_at: str) -> LoginError:
    message = (
        f"Client assertion is not within its valid time range. Current time: {now}, expiry time of assertion "
        f"{expired_at}. Review the documentation at https://learn.microsoft.com/entra/identity-platform/"
        "certificate-credentials."
    )
    return LoginError(401, "invalid_client", 700024, message)


def assertion_of_another_client(found: str) -> LoginError:
    message = f"The client assertion's issuer or subject '{found}' does not match the 'client_id' parameter."
    return LoginError(401, "invalid_client", 700021, message)


def assertion_for_another_audience(found: str) -> LoginError:
    message = f"Client assertion audience claim does not match Realm issuer. Found: '{found}'."
    return LoginError(401, "invalid_client", 700023, message)


def no_federated_credential(number: int, claim: str, found: str) -> LoginError:
    """Return the error for a `claim` that matches no federated credential. `number`: 700211, 700212 or 700213."""
    message = (
        f"No matching federated identity record found for presented assertion {claim} '{found}'. Check your federated "
        "identity credential Subject, Audience and Issuer against the presented assertion."
    )
    return LoginError(401, "invalid_client", number, message)


class ManagedIdentityError(EmulatedError):
    """An error of the instance metadata service, or of App Service if `is_app_service`."""

    def __init__(self, status: int, error: str, message: str, *, is_app_service: bool = False) -> None:
        super().__init__(status, error, message)
        self.is_app_service = is_app_service

    def response(self) -> Response:
        if self.is_app_service:
            return JSONResponse({"statusCode": self.status, "message": self.message}, self.status)
        return JSONResponse({"error": self.code, "error_description": self.message}, self.status)
