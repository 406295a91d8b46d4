"""Microsoft Entra ID's token endpoint. Tokens are signed JWTs, and the emulator verifies them."""

import hmac
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import parse_qsl

import jwt
from jwt.types import Options
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rollway.emulator.core.clock import Clock, format_iso
from rollway.emulator.core.errors import Document, expired_token, invalid_token, missing_token, wrong_audience
from rollway.emulator.core.seed import Seed
from rollway.emulator.login import errors
from rollway.emulator.login.assertions import check_assertion
from rollway.emulator.login.errors import ManagedIdentityError

# Resources of public Azure. Clients request tokens for them in custom clouds too (azure-ai-ml hard-codes the first).
AZURE_ML = "https://ml.azure.com"
STORAGE = "https://storage.azure.com"
ALGORITHM = "HS256"


class Identity:
    """The tenant: issues tokens and verifies them, on the emulator's clock."""

    def __init__(self, seed: Seed, signing_key: str, clock: Clock, url: str) -> None:
        self._seed, self._key, self._clock, self._url = seed, signing_key, clock, url
        self.arm_audiences = (url, f"{url}/")

    def issue_token(self, audience: str, subject: str) -> str:
        """Return a bearer token for `audience`, valid for the tenant's token lifetime."""
        now = int(self._clock.now())
        claims = {
            "aud": audience,
            "iss": f"{self._url}/{self._seed.tenant_id}/v2.0",
            "iat": now,
            "nbf": now,
            "exp": now + self._seed.token_seconds,
            "appid": subject,
            "oid": subject,
            "sub": subject,
            "tid": self._seed.tenant_id,
            "ver": "1.0",
        }
        return jwt.encode(claims, self._key, ALGORITHM)

    def check_token(self, authorization: str | None, audiences: Sequence[str]) -> str:
        """Return the client id of a bearer token. Raise ARM's 401 if the token is missing or invalid."""
        if not authorization:
            raise missing_token()
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise invalid_token(f"the scheme {scheme!r} is not 'Bearer'")
        try:  # PyJWT would use the machine's clock, and its audience error does not contain the wrong audience
            checks: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
            claims = jwt.decode(token.strip(), self._key, [ALGORITHM], options={**checks, "require": ["exp", "aud"]})
        except jwt.InvalidTokenError as exc:
            raise invalid_token(str(exc)) from exc
        if claims["exp"] <= self._clock.now():
            raise expired_token(format_iso(claims["exp"]), format_iso(self._clock.now()))
        if claims["aud"] not in audiences:
            raise wrong_audience(claims["aud"], audiences)
        return str(claims["appid"])

    def openid_configuration(self, tenant: str) -> Document:
        """Return the discovery document of a tenant. MSAL needs three of its fields."""
        self._check_tenant(tenant)
        base = f"{self._url}/{tenant}"
        return {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "issuer": f"{base}/v2.0",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "tenant_region_scope": None,
        }

    def answer_token_request(self, tenant: str, form: dict[str, str]) -> Document:
        """Return the response to a token request with a client secret or a client assertion. Raises LoginError."""
        self._check_tenant(tenant)
        for name in ("grant_type", "client_id", "scope"):
            if not form.get(name):
                raise errors.missing_parameter(name)
        if form["grant_type"] != "client_credentials":
            raise errors.unsupported_grant(form["grant_type"])
        principal = self._seed.principal(form["client_id"])
        if principal is None:
            raise errors.unknown_application(form["client_id"], tenant)
        if assertion := form.get("client_assertion"):
            check_assertion(assertion, principal, f"{self._url}/{tenant}")
        elif not form.get("client_secret"):
            raise errors.missing_credential()
        elif not hmac.compare_digest(form["client_secret"].encode(), principal.client_secret.encode()):
            raise errors.invalid_client_secret(principal.client_id)
        audience = self._parse_audience(form["scope"])
        token = self.issue_token(audience, principal.client_id)
        expiry = {"expires_in": self._seed.token_seconds, "ext_expires_in": self._seed.token_seconds}
        return {"token_type": "Bearer", **expiry, "access_token": token}

    def managed_identity_token(self, client_id: str | None, resource: str, *, is_app_service: bool) -> Document:
        """Return the token response for a managed identity: the one with `client_id`, else the first.

        It has the fields of both IMDS and App Service. Numbers are strings, as in both services.
        """
        managed = [one.client_id for one in self._seed.principals if one.is_managed_identity]
        if client_id is not None:
            managed = [one for one in managed if one.lower() == client_id.lower()]
        return self.managed_token(managed[0] if managed else None, resource, is_app_service=is_app_service)

    def managed_token(self, client_id: str | None, resource: str, *, is_app_service: bool) -> Document:
        """Return the token response for the managed identity with this client id. None: it does not exist."""
        if client_id is None:
            text = "Identity not found"
            raise ManagedIdentityError(400, "invalid_request", text, is_app_service=is_app_service)
        try:
            audience = self._parse_audience(f"{resource}/.default")
        except errors.LoginError as exc:
            text = f"AADSTS{exc.number}: {exc.message}"
            raise ManagedIdentityError(400, "invalid_resource", text, is_app_service=is_app_service) from exc
        return {
            "access_token": self.issue_token(audience, client_id),
            "client_id": client_id,
            "expires_in": str(self._seed.token_seconds),
            "expires_on": str(int(self._clock.now()) + self._seed.token_seconds),
            "resource": resource,
            "token_type": "Bearer",
        }

    def check_identity_header(self, given: str | None) -> None:
        """Raise ManagedIdentityError unless `given` is the secret that App Service gives only to its own processes."""
        wanted = self._seed.identity_header
        if wanted is None or not hmac.compare_digest((given or "").encode(), wanted.encode()):
            text = "The X-IDENTITY-HEADER is missing or wrong."
            raise ManagedIdentityError(401, "unauthorized", text, is_app_service=True)

    def _parse_audience(self, scope: str) -> str:
        """Return the resource of a scope `<resource>/.default`. Raise LoginError if it is unknown."""
        resource = scope.split(maxsplit=1)[0].removesuffix("/.default")
        known = {one.rstrip("/") for one in (*self.arm_audiences, AZURE_ML, STORAGE)}
        if not scope.split(maxsplit=1)[0].endswith("/.default") or resource.rstrip("/") not in known:
            raise errors.unknown_scope(scope)
        return resource.rstrip("/")

    def _check_tenant(self, tenant: str) -> None:
        if tenant.lower() != self._seed.tenant_id.lower():
            raise errors.unknown_tenant(tenant)


async def get_openid_configuration(request: Request) -> Response:
    """GET `/{tenant}/v2.0/.well-known/openid-configuration`."""
    identity: Identity = request.app.state.emulator.identity
    return JSONResponse(identity.openid_configuration(request.path_params["tenant"]))


async def post_token(request: Request) -> Response:
    """POST `/{tenant}/oauth2/v2.0/token`."""
    identity: Identity = request.app.state.emulator.identity
    body = await request.body()
    form = dict(parse_qsl(body.decode("utf-8", "replace")))
    headers = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}
    return JSONResponse(identity.answer_token_request(request.path_params["tenant"], form), headers=headers)


async def get_instance_token(request: Request) -> Response:
    """GET `/metadata/identity/oauth2/token`: a managed identity's token on a virtual machine (IMDS)."""
    identity: Identity = request.app.state.emulator.identity
    # In Azure, only the machine itself can reach this address.
    if request.client is None or not ip_address(request.client.host).is_loopback:
        raise ManagedIdentityError(403, "forbidden", "Managed identities are for processes of the emulator's machine")
    # Required because a browser or proxy cannot be tricked into sending it.
    if request.headers.get("metadata", "").lower() != "true":
        raise ManagedIdentityError(400, "invalid_request", "Required metadata header not specified")
    query = request.query_params
    if not query.get("resource"):
        raise ManagedIdentityError(400, "invalid_request", "Required query variable 'resource' is missing")
    return JSONResponse(
        identity.managed_identity_token(query.get("client_id"), query["resource"], is_app_service=False)
    )


async def get_app_service_token(request: Request) -> Response:
    """GET `/msi/token`: a managed identity's token on App Service and Functions."""
    identity: Identity = request.app.state.emulator.identity
    identity.check_identity_header(request.headers.get("x-identity-header"))
    query = request.query_params
    if not query.get("resource"):
        raise ManagedIdentityError(400, "invalid_request", "resource is missing", is_app_service=True)
    return JSONResponse(identity.managed_identity_token(query.get("client_id"), query["resource"], is_app_service=True))
