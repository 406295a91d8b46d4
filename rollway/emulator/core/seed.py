"""What a new emulator starts with: tenant, principals, workspaces, limits and taken names."""

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

from rollway.emulator.core.store import Store


class SeedError(Exception):
    """A seed file that cannot be used; the text lists every problem."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(StrEnum):
    """What a principal may do in every workspace."""

    CONTRIBUTOR = "contributor"
    READER = "reader"
    NONE = "none"


class FederatedCredential(Frozen):
    """Whose tokens sign an application in. The emulator asks no issuer for its keys: the seed has the public one."""

    issuer: str
    subject: str
    audience: str = "api://AzureADTokenExchange"
    public_key: str
    """PEM, RSA or EC."""

    @field_validator("public_key")
    @classmethod
    def _is_key(cls, value: str) -> str:
        load_pem_public_key(value.encode())
        return value


class Principal(Frozen):
    """An application, or a managed identity of the machine."""

    client_id: str = Field(default_factory=lambda: str(uuid4()))
    client_secret: str = Field(default_factory=lambda: token_urlsafe(30))
    role: Role = Role.CONTRIBUTOR
    certificates: tuple[str, ...] = ()
    """PEM, without the private key."""
    federated_credentials: tuple[FederatedCredential, ...] = ()
    is_managed_identity: bool = False
    """Every process of this machine gets tokens for it, as on a virtual machine; the first is system-assigned."""

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
    """Names of Kubernetes clusters that are attached to it."""
    v1_legacy_mode: bool = False
    """Online endpoints cannot be created in it."""
    managed_network: Literal["active", "inactive"] | None = None
    """A managed virtual network; online deployments cannot be created while it is inactive (not provisioned)."""


class SeededModel(Frozen):
    """A registered model of the first workspace. `path` is its file or folder, relative to the seed file."""

    name: str = Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$")
    version: str = Field(default="1", pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$")
    path: Path
    type: Literal["custom_model", "mlflow_model", "triton_model"] = "custom_model"
    tags: dict[str, str] = {}


class Scoring(Frozen):
    """The scoring gateway: its limits per endpoint, who is inside of the private network, when metrics arrive.

    `most_body_bytes` is not documented by Azure. Callers from `private_network` reach endpoints whose public access is
    disabled. `metrics_lag_seconds` None: as the profile says.
    """

    requests_per_second: float = Field(default=500, gt=0)
    most_body_bytes: int = Field(default=10 * 1024 * 1024, gt=0)
    private_network: IPv4Network = IPv4Network("127.1.0.0/16")
    metrics_lag_seconds: float | None = Field(default=None, ge=0)


class VmSizeSeed(Frozen):
    """A virtual machine size that the emulator does not know by itself."""

    family: str
    cores: int = Field(ge=1)


class Limits(Frozen):
    """What a subscription may have (how-to-manage-quotas)."""

    endpoints_per_region: int = Field(default=100, ge=0)
    deployments_per_subscription: int = Field(default=500, ge=0)
    deployments_per_endpoint: int = Field(default=20, ge=0)


class Bucket(Frozen):
    """A token bucket: how many requests at once, and how many more per second."""

    size: int = Field(ge=1)
    per_second: float = Field(gt=0)


class Throttling(Frozen):
    """Requests to ARM per principal; the defaults are Azure's (request-limits-and-throttling)."""

    reads: Bucket = Bucket(size=250, per_second=25)
    writes: Bucket = Bucket(size=200, per_second=10)
    deletes: Bucket = Bucket(size=200, per_second=10)


class Seed(Frozen):
    """A seed file; what is left out gets a fresh value. The first of each list is what `env` prints."""

    tenant_id: str = Field(default_factory=lambda: str(uuid4()))
    subscription_id: str = Field(default_factory=lambda: str(uuid4()))
    principals: tuple[Principal, ...] = Field(default_factory=lambda: (Principal(),), min_length=1)
    workspaces: tuple[SeededWorkspace, ...] = Field(default_factory=lambda: (SeededWorkspace(),), min_length=1)
    models: tuple[SeededModel, ...] = ()
    registries: tuple[str, ...] = ()
    """Names of registries beside the public one; they are empty at first, and every contributor may fill them."""
    taken_endpoint_names: tuple[str, ...] = ()
    identity_header: str | None = None
    """The secret of App Service's managed identities; None: there is no App Service."""
    token_seconds: int = Field(default=3599, ge=1, le=86400)
    """How long Entra's tokens are valid: an hour, as a tenant without a policy of its own gives them."""
    limits: Limits = Limits()
    vm_quotas: dict[str, int] = {}
    """Cores per family of virtual machines, in each region; no limit for a family that is not named."""
    vm_sizes: dict[str, VmSizeSeed] = {}
    throttling: Throttling | None = None
    """None: requests to ARM are not counted; `{}` has Azure's numbers."""
    scoring: Scoring = Field(default_factory=Scoring)

    def principal(self, client_id: str) -> Principal | None:
        return next((one for one in self.principals if one.client_id.lower() == client_id.lower()), None)


def _located(given: dict[str, object], seed_file: Path) -> dict[str, object]:
    """The models of a seed file with absolute paths; raises SeedError for those that are not there."""
    models = given.get("models")
    if not isinstance(models, list):
        return {}
    located = [
        {**one, "path": str((seed_file.parent / str(one["path"])).resolve())}
        if isinstance(one, dict) and "path" in one
        else one
        for one in models
    ]
    missing = [one["path"] for one in located if isinstance(one, dict) and not Path(one.get("path", "/")).exists()]
    if missing:
        raise SeedError("\n".join(f"{seed_file}: models: {path} does not exist" for path in missing))
    return {"models": located}


def load_seed(store: Store, path: Path | None) -> Seed:
    """The seed of this state: what `path` says on top of the values kept from earlier starts; kept for the next one."""
    kept = store.setting("seed")
    values = json.loads(kept) if kept else {}
    if path is not None:
        try:
            given = yaml.safe_load(path.read_text()) or {}
        except (OSError, yaml.YAMLError) as exc:
            raise SeedError(f"{path}: {exc}") from exc
        if not isinstance(given, dict):
            raise SeedError(f"{path}: a mapping is expected, this is a {type(given).__name__}")
        values |= given | _located(given, path)
    try:
        seed = Seed.model_validate(values)
    except ValidationError as exc:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in exc.errors()]
        raise SeedError("\n".join(f"{path}: {problem}" for problem in problems)) from exc
    store.set_setting("seed", seed.model_dump_json())
    return seed
