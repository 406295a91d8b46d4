"""The emulator's own certificate authority, and the bundle that makes clients trust it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import trustme
from cryptography import x509

from rollway.emulator.core.store import Store

# Some clients refuse server certificates that are valid for longer than 398 days.
VALID = timedelta(days=397)
RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class Certificates:
    """Certificate files: the server's key with its chain, the CA, and the CA together with the machine's roots."""

    server: Path
    authority: Path
    bundle: Path


def provide_certificates(store: Store, folder: Path, roots: Path | None, public_name: str | None) -> Certificates:
    """Write the certificate files for `localhost` and return their paths.

    The CA is stored, and replaced when it is about to expire.

    Args:
        roots: File with the root certificates of this machine. certifi's if None or missing.
        public_name: Another name for which the certificate is valid.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = Certificates(folder / "server.pem", folder / "ca.pem", folder / "bundle.pem")
    authority = _load_or_create_authority(store)
    names = ["localhost", "127.0.0.1", "::1", *([public_name] if public_name else [])]
    leaf = authority.issue_cert(*names, not_after=datetime.now(UTC) + VALID)
    files.server.touch(mode=0o600)
    files.server.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    ca = authority.cert_pem.bytes()
    trusted = (roots if roots is not None and roots.is_file() else Path(certifi.where())).read_bytes()
    files.authority.write_bytes(ca)
    files.bundle.write_bytes(trusted if ca in trusted else trusted.rstrip() + b"\n" + ca)
    return files


def _load_or_create_authority(store: Store) -> trustme.CA:
    certificate, key = store.setting("ca certificate"), store.setting("ca key")
    if certificate and key:
        expires = x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc
        if expires > datetime.now(UTC) + RENEW_BEFORE:
            return trustme.CA.from_pem(certificate.encode(), key.encode())
    authority = trustme.CA(organization_name="Rollway local Azure ML")
    with store.transaction():
        store.set_setting("ca certificate", authority.cert_pem.bytes().decode())
        store.set_setting("ca key", authority.private_key_pem.bytes().decode())
    return authority
