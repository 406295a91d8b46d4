"""Client assertions: what an application signs in with that has a certificate, or trusts another issuer (RFC 7523)."""

import time
from base64 import urlsafe_b64encode
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from rollway.emulator.core.clock import format_iso
from rollway.emulator.core.seed import FederatedCredential, Principal
from rollway.emulator.login import errors

ALGORITHMS = ["RS256", "PS256", "ES256"]


def check_assertion(assertion: str, principal: Principal, authority: str) -> None:
    """Raise LoginError unless the assertion signs `principal` in at `authority` (URL of the tenant)."""
    try:
        header = jwt.get_unverified_header(assertion)
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.InvalidTokenError as exc:
        raise errors.malformed_assertion(str(exc)) from exc
    thumbprint = header.get("x5t#S256") or header.get("x5t")
    if isinstance(thumbprint, str):
        _check_certificate(assertion, thumbprint, claims, principal, authority)
    else:
        _verify(assertion, _find_federated(claims, principal).public_key)
    # By the machine's clock: the client signs by that, and knows nothing of ours.
    expiry = claims.get("exp")
    if not isinstance(expiry, int | float) or expiry <= time.time():
        shown = format_iso(expiry) if isinstance(expiry, int | float) else "missing"
        raise errors.expired_assertion(format_iso(time.time()), shown)


def _check_certificate(
    assertion: str, thumbprint: str, claims: dict[str, Any], principal: Principal, authority: str
) -> None:
    """MSAL names the certificate by its thumbprint, SHA-256 or SHA-1."""
    for pem in principal.certificates:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        known = (certificate.fingerprint(hashes.SHA256()), certificate.fingerprint(hashes.SHA1()))  # noqa: S303
        if thumbprint.rstrip("=") in [urlsafe_b64encode(one).rstrip(b"=").decode() for one in known]:
            break
    else:
        raise errors.unregistered_certificate(thumbprint)
    _verify(assertion, certificate.public_key())
    for claim in ("iss", "sub"):
        if str(claims.get(claim)).lower() != principal.client_id.lower():
            raise errors.assertion_of_another_client(str(claims.get(claim)))
    if not str(claims.get("aud")).lower().startswith(authority.lower()):
        raise errors.assertion_for_another_audience(str(claims.get("aud")))


def _find_federated(claims: dict[str, Any], principal: Principal) -> FederatedCredential:
    """The credential that an assertion of another issuer matches in issuer, audience and subject, case-sensitively."""
    left = principal.federated_credentials
    for number, claim, field, word in (
        (700211, "iss", "issuer", "issuer"),
        (700212, "aud", "audience", "audience"),
        (700213, "sub", "subject", "subject"),
    ):
        found = claims.get(claim)
        left = tuple(one for one in left if getattr(one, field) == found)
        if not left:
            raise errors.no_federated_credential(number, word, str(found))
    return left[0]


def _verify(assertion: str, key: Any) -> None:
    checks: dict[str, bool] = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud")}
    try:
        jwt.decode(assertion, key, ALGORITHMS, options=checks)  # type: ignore[arg-type]
    except (jwt.InvalidTokenError, ValueError, TypeError) as exc:
        raise errors.invalid_assertion_signature() from exc
