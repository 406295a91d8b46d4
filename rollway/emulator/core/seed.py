"""The seed: the tenant, principals, workspaces, models and limits that an emulator starts with."""

import json
from enum import StrEnum
from ipaddress import IPv4Network
from pathlib import Path
from secrets import token_urlsafe
from typing import Literal
from uuid import uuid4

import yaml
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rollway.emulator.core.lags import LagSeconds
from rollway.emulator.core.store import Store


class SeedError(Exception):
    """The seed file is invalid. The text lists every problem."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(StrEnum):
    """Role of a principal in every resource group. `roles` has their rights."""

    CONTRIBUTOR = "contributor"
    DATA_SCIENTIST = "data_scientist"
    READER = "reader"
    MONITORING_READER = "monitoring_reader"
    NONE = "none"


class FederatedCredential(Frozen):
    """An issuer and subject whose tokens sign an application in.

    The emulator does not download the issuer's keys; the seed contains the public key.
    """

    issuer: str
    subject: str
    audience: str = "api://AzureADTokenExchange"
    public_key: str
    """RSA or EC key in PEM."""

    @field_validator("public_key")
    @classmethod
    def _is_key(cls, value: str) -> str:
        load_pem_public_key(value.encode())
        return value


class Principal(Frozen):
    """An application, or a managed identity."""

    client_id: str = Field(default_factory=lambda: str(uuid4()))
    client_secret: str = Field(default_factory=lambda: token_urlsafe(30))
    role: tuple[Role, ...] = (Role.CONTRIBUTOR,)
    """One or several; the rights of one add to those of the others."""
    certificates: tuple[str, ...] = ()
    """Certificates in PEM, without private keys."""
    federated_credentials: tuple[FederatedCredential, ...] = ()
    is_managed_identity: bool = False
    """True for a managed identity of this machine. The first one is system-assigned, the others user-assigned."""

    @field_validator("role", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("certificates")
    @classmethod
    def _are_certificates(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pem in value:
            load_pem_x509_certificate(pem.encode())
        return value


class SeededWorkspace(Frozen):
    """An Azure ML workspace in the seed's subscription."""

    resource_group: str = "rollway"
    name: str = "local"
    location: str = "westeurope"
    kubernetes_computes: tuple[str, ...] = ()
    """Names of attached Kubernetes clusters."""
    v1_legacy_mode: bool = False
    """True if online endpoints cannot be created in it."""
    managed_network: Literal["active", "inactive"] | None = None
    """State of its managed virtual network, if it has one. `inactive` (not provisioned) refuses online deployments."""


class SeededModel(Frozen):
    """A registered model of the first workspace. `path` is a file or folder, relative to the seed file."""

    name: str = Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$")
    version: str = Field(default="1", pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$")
    path: Path
    type: Literal["custom_model", "mlflow_model", "triton_model"] = "custom_model"
    tags: dict[str, str] = {}


class Scoring(Frozen):
    """Settings of the scoring gateway.

    Args:
        requests_per_second: Limit per endpoint.
        most_body_bytes: Limit on a request's body. Azure does not document its own limit.
        private_network: Addresses whose requests reach endpoints with public access disabled.
        metrics_lag_seconds: Age at which a minute of metrics can be read. None for the profile's value.
    """

    requests_per_second: float = Field(default=500, gt=0)
    most_body_bytes: int = Field(default=10 * 1024 * 1024, gt=0)
    private_network: IPv4Network = IPv4Network("127.1.0.0/16")
    metrics_lag_seconds: float | None = Field(default=None, ge=0)


class VmSizeSeed(Frozen):
    """A virtual machine size that is not in the emulator's own table."""

    family: str
    cores: int = Field(ge=1)


class Limits(Frozen):
    """Limits of a subscription (how-to-manage-quotas)."""

    endpoints_per_region: int = Field(default=100, ge=0)
    deployments_per_subscription: int = Field(default=500, ge=0)
    deployments_per_endpoint: int = Field(default=20, ge=0)


class Bucket(Frozen):
    """A token bucket: its capacity, and the tokens added per second."""

    size: int = Field(ge=1)
    per_second: float = Field(gt=0)


class Throttling(Frozen):
    """Limits on requests to ARM, per principal. The defaults are Azure's (request-limits-and-throttling).

    `resource_requests` are the writes of online deployments. Their size was recorded, their rate is our choice.
    """

    reads: Bucket = Bucket(size=250, per_second=25)
    writes: Bucket = Bucket(size=200, per_second=10)
    deletes: Bucket = Bucket(size=200, per_second=10)
    resource_requests: Bucket = Bucket(size=25, per_second=1)


class Seed(Frozen):
    """Content of a seed file. Missing ids and secrets are generated. `env` prints the first entry of each list."""

    tenant_id: str = Field(default_factory=lambda: str(uuid4()))
    subscription_id: str = Field(default_factory=lambda: str(uuid4()))
    principals: tuple[Principal, ...] = Field(default_factory=lambda: (Principal(),), min_length=1)
    workspaces: tuple[SeededWorkspace, ...] = Field(default_factory=lambda: (SeededWorkspace(),), min_length=1)
    models: tuple[SeededModel, ...] = ()
    registries: tuple[str, ...] = ()
    """Names of registries beside the public one. They start empty, and every contributor can write to them."""
    taken_endpoint_names: tuple[str, ...] = ()
    identity_header: str | None = None
    """Value of `X-IDENTITY-HEADER` for App Service's managed identities. None turns App Service off."""
    token_seconds: int = Field(default=3599, ge=1, le=86400)
    """Lifetime of Entra tokens. The default is that of a tenant without a policy of its own: about an hour."""
    limits: Limits = Limits()
    vm_quotas: dict[str, int] = {}
    """Cores per virtual machine family in each region. A family that is not listed has no limit."""
    vm_sizes: dict[str, VmSizeSeed] = {}
    throttling: Throttling | None = None
    """Throttling of ARM. None turns it off; `{}` has Azure's limits."""
    scoring: Scoring = Field(default_factory=Scoring)
    lag_seconds: LagSeconds = LagSeconds()
    """Lags behind writes. A lag that is not set has the profile's value."""

    def principal(self, client_id: str) -> Principal | None:
        """Return the principal with this client id, ignoring case."""
        return next((one for one in self.principals if one.client_id.lower() == client_id.lower()), None)


def _resolve_model_paths(given: dict[str, object], seed_file: Path) -> dict[str, object]:
    """Return the `models` of a seed file with absolute paths. Raise SeedError if a path does not exist."""
    models = given.get("models")
    if not isinstance(models, list):
        return {}
    resolved = [
        {**one, "path": str((seed_file.parent / str(one["path"])).resolve())}
        if isinstance(one, dict) and "path" in one
        else one
        for one in models
    ]
    missing = [one["path"] for one in resolved if isinstance(one, dict) and not Path(one.get("path", "/")).exists()]
    if missing:
        raise SeedError("\n".join(f"{seed_file}: models: {path} does not exist" for path in missing))
    return {"models": resolved}


def load_seed(store: Store, path: Path | None) -> Seed:
    """Return the seed of a state directory, and store it for the next start.

    The seed file at `path` overrides values stored by earlier starts. Raises SeedError.
    """
    stored = store.setting("seed")
    values = json.loads(stored) if stored else {}
    if path is not None:
        try:
            given = yaml.safe_load(path.read_text()) or {}
        except (OSError, yaml.YAMLError) as exc:
            raise SeedError(f"{path}: {exc}") from exc
        if not isinstance(given, dict):
            raise SeedError(f"{path}: expected a mapping, found {type(given).__name__}")
        values |= given | _resolve_model_paths(given, path)
    try:
        seed = Seed.model_validate(values)
    except ValidationError as exc:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in exc.errors()]
        raise SeedError("\n".join(f"{path}: {problem}" for problem in problems)) from exc
    store.set_setting("seed", seed.model_dump_json())
    return seed
