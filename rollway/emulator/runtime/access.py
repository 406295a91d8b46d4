"""Access of containers to the emulator: a port on loopback, a secret, and environment variables that name them."""

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

IDENTITY_PATH, LOG_PATH = "/msi/token", "/modeldata/log"
PAYLOADS = ("request", "response")  # collections that the gateway fills, not the scoring script
CONFIG = "mdc-config.json"


@dataclass
class ContainerAccess:
    """Secrets of online deployments. Each identifies one, and is known to its containers only.

    Args:
        port: Of the services for containers, on 127.0.0.1. 0 until they run.
        bundle: Root certificates, with the emulator's own authority.
    """

    bundle: Path | None = None
    port: int = 0
    _secrets: dict[str, str] = field(default_factory=dict)

    def secret_of(self, deployment_id: str) -> str:
        """Return the secret of an online deployment, the same for all its containers."""
        return self._secrets.setdefault(deployment_id.lower(), token_hex(16))

    def find_deployment(self, secret: str | None) -> str | None:
        """Return the id of the online deployment with this secret, in lower case, or None."""
        given = (secret or "").encode()
        for deployment_id, known in self._secrets.items():
            if hmac.compare_digest(given, known.encode()):
                return deployment_id
        return None

    def variables(self, deployment_id: str, collector: Mapping[str, Any] | None, folder: Path) -> dict[str, str]:
        """Return the environment variables of an online deployment's containers. Write the collector's configuration.

        `MSI_ENDPOINT` and `MSI_SECRET` are Azure ML's (how-to-access-resources-from-endpoints-managed-identities); the
        form with `IDENTITY_` is App Service's. The bundle lets clients in the container trust the emulator.

        Args:
            collector: `dataCollector` of the online deployment.
            folder: Folder for the configuration file.
        """
        secret, url = self.secret_of(deployment_id), f"http://127.0.0.1:{self.port}{IDENTITY_PATH}"
        variables = {"MSI_ENDPOINT": url, "MSI_SECRET": secret, "IDENTITY_ENDPOINT": url, "IDENTITY_HEADER": secret}
        if self.bundle is not None:
            variables |= {"SSL_CERT_FILE": str(self.bundle), "REQUESTS_CA_BUNDLE": str(self.bundle)}
        collections = {name: one for name, one in enabled_collections(collector).items() if name not in PAYLOADS}
        if not collections:
            return variables
        percents = {name: round(one.get("samplingRate", 1.0) * 100) for name, one in collections.items()}
        config = {name: {"enabled": True, "sampleRatePercentage": percent} for name, percent in percents.items()}
        path = folder / CONFIG
        path.write_text(json.dumps({"collections": config, "runMode": "cloud"}))
        return variables | {
            "AZUREML_MDC_CONFIG_PATH": str(path),
            # azureml-ai-monitoring puts it into `http://{host}:{port}/modeldata/log`, so it can hold the secret.
            "AZUREML_MDC_HOST": f"container:{secret}@127.0.0.1",
            "AZUREML_MDC_PORT": str(self.port),
        }


def enabled_collections(collector: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """Return the enabled collections of a `dataCollector`, by their names in lower case."""
    collections: Mapping[str, Mapping[str, Any]] = (collector or {}).get("collections") or {}
    return {
        name.lower(): one
        for name, one in collections.items()
        if str(one.get("dataCollectionMode")).lower() == "enabled"
    }


def basic_password(authorization: str | None) -> str | None:
    """Return the password in a Basic authorization header, or None."""
    scheme, _, given = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(given).decode().partition(":")[2]
    except ValueError:
        return None
