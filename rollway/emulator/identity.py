"""Microsoft Entra ID's token endpoint, and the tokens it and the endpoints give out: signed JWTs that are checked."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

import jwt
from jwt.types import Options
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rollway.emulator import errors
from rollway.emulator.clock import Clock, iso
from rollway.emulator.errors import Document
from rollway.emulator.seed import Seed

TOKEN_SECONDS = 3599
# The resources of public Azure that clients ask tokens for even in a custom cloud (azure-ai-ml hard-codes the first).
AZURE_ML = "https://ml.azure.com"
STORAGE = "https://storage.azure.com"
ALGORITHM = "HS256"


class Identity:
    """The tenant: gives tokens for client secrets, and checks them. Times are the clock's."""

    def __init__(self, seed: Seed, signing_key: str, clock: Clock, url: str) -> None:
        self._seed, self._key, self._clock, self._url = seed, signing_key, clock, url
        self.arm_audiences = (url, f"{url}/")

    def issue(self, audience: str, subject: str, seconds: int = TOKEN_SECONDS) -> str:
        """A bearer token for `audience`, valid for `seconds`."""
        now = int(self._clock.now())
        claims = {
            "aud": audience,
            "iss": f"{self._url}/{self._seed.tenant_id}/v2.0",
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "appid": subject,
            "oid": subject,
            "sub": subject,
            "tid": self._seed.tenant_id,
            "ver": "1.0",
        }
        return jwt.encode(claims, self._key, ALGORITHM)

    def check(self, authorization: str | None, audiences: Sequence[str]) -> str:
        """The client id that a valid bearer token is for; raises the 401 that ARM answers for any other."""
        if not authorization:
            raise errors.missing_token()
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise errors.invalid_token(f"the scheme {scheme!r} is not 'Bearer'")
        try:  # PyJWT would compare with the machine's clock, and its audience error hides what was found
            checks: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
            claims = jwt.decode(token.strip(), self._key, [ALGORITHM], options={**checks, "require": ["exp", "aud"]})
        except jwt.InvalidTokenError as exc:
            raise errors.invalid_token(str(exc)) from exc
        if claims["exp"] <= self._clock.now():
            raise errors.expired_token(iso(claims["exp"]), iso(self._clock.now()))
        if claims["aud"] not in audiences:
            raise errors.wrong_audience(claims["aud"], audiences)
        return str(claims["appid"])

    def openid_configuration(self, tenant: str) -> Document:
        """The discovery document of a tenant; MSAL needs three of its fields."""
        self._check_tenant(tenant)
        base = f"{self._url}/{tenant}"
        return {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "issuer": f"{base}/v2.0",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "tenant_region_scope": None,
        }

    def token(self, tenant: str, form: dict[str, str]) -> Document:
        """The answer to a token request with a client secret."""
        self._check_tenant(tenant)
        for name in ("grant_type", "client_id", "client_secret", "scope"):
            if not form.get(name):
                raise errors.missing_parameter(name)
        if form["grant_type"] != "client_credentials":
            raise errors.unsupported_grant(form["grant_type"])
        principal = self._seed.principal(form["client_id"])
        if principal is None:
            raise errors.unknown_application(form["client_id"], tenant)
        if form["client_secret"] != principal.client_secret:
            raise errors.invalid_client_secret(principal.client_id)
        audience = self._audience(form["scope"])
        token = self.issue(audience, principal.client_id)
        expiry = {"expires_in": TOKEN_SECONDS, "ext_expires_in": TOKEN_SECONDS}
        return {"token_type": "Bearer", **expiry, "access_token": token}

    def _audience(self, scope: str) -> str:
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
    return JSONResponse(identity.token(request.path_params["tenant"], form), headers=headers)
