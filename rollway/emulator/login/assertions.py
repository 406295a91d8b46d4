"""Client assertions (RFC 7523): sign-in with a certificate, or with a token of a trusted issuer."""

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
    """Raise LoginError unless the assertion is valid for `principal` at `authority`, the URL of the tenant."""
    try:
        header = jwt.get_unverified_header(assertion)
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.InvalidTokenError as exc:
        raise errors.malformed_assertion(str(exc)) from exc
    thumbprint = header.get("x5t#S256") or header.get("x5t")
    if isinstance(thumbprint, str):
        _check_certificate(assertion, thumbprint, claims, principal, authority)
    else:
        _verify_signature(assertion, _find_federated(claims, principal).public_key)
    # Compared with the machine's clock: the client signs by it, and does not know the emulator's clock.
    expiry = claims.get("exp")
    if not isinstance(expiry, int | float) or expiry <= time.time():
        shown = format_iso(expiry) if isinstance(expiry, int | float) else "missing"
        raise errors.expired_assertion(format_iso(time.time()), shown)


def _check_certificate(
    assertion: str, thumbprint: str, claims: dict[str, Any], principal: Principal, authority: str
) -> None:
    """Raise LoginError unless a certificate of `principal` has signed the assertion.

    MSAL sends the certificate's thumbprint, SHA-256 or SHA-1.
    """
    for pem in principal.certificates:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        known = (certificate.fingerprint(hashes.SHA256()), certificate.fingerprint(hashes.SHA1()))  # noqa: S303
        if thumbprint.rstrip("=") in [urlsafe_b64encode(one).rstrip(b"=").decode() for one in known]:
            break
    else:
        raise errors.unregistered_certificate(thumbprint)
    _verify_signature(assertion, certificate.public_key())
    for claim in ("iss", "sub"):
        if str(claims.get(claim)).lower() != principal.client_id.lower():
            raise errors.assertion_of_another_client(str(claims.get(claim)))
    if not str(claims.get("aud")).lower().startswith(authority.lower()):
        raise errors.assertion_for_another_audience(str(claims.get("aud")))


def _find_federated(claims: dict[str, Any], principal: Principal) -> FederatedCredential:
    """Return the federated credential whose issuer, audience and subject match the claims, case-sensitively."""
    candidates = principal.federated_credentials
    for number, claim, field in ((700211, "iss", "issuer"), (700212, "aud", "audience"), (700213, "sub", "subject")):
        found = claims.get(claim)
        candidates = tuple(one for one in candidates if getattr(one, field) == found)
        if not candidates:
            raise errors.no_federated_credential(number, field, str(found))
    return candidates[0]


def _verify_signature(assertion: str, key: Any) -> None:
    """Raise LoginError unless `key` has signed the assertion."""
    checks: dict[str, bool] = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud")}
    try:
        jwt.decode(assertion, key, ALGORITHMS, options=checks)  # type: ignore[arg-type]
    except (jwt.InvalidTokenError, ValueError, TypeError) as exc:
        raise errors.invalid_assertion_signature() from exc
