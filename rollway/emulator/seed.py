"""What a new emulator starts with: tenant, principals, workspaces and taken names."""

import json
from enum import StrEnum
from pathlib import Path
from secrets import token_urlsafe
from uuid import uuid4

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rollway.emulator.store import Store


class SeedError(Exception):
    """A seed file that cannot be used; the text lists every problem."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(StrEnum):
    """What a principal may do in every workspace."""

    CONTRIBUTOR = "contributor"
    READER = "reader"
    NONE = "none"


class Principal(Frozen):
    """An application with a client secret."""

    client_id: str = Field(default_factory=lambda: str(uuid4()))
    client_secret: str = Field(default_factory=lambda: token_urlsafe(30))
    role: Role = Role.CONTRIBUTOR


class SeededWorkspace(Frozen):
    """An Azure ML workspace in the seed's subscription."""

    resource_group: str = "rollway"
    name: str = "local"
    location: str = "westeurope"


class Seed(Frozen):
    """A seed file; what is left out gets a fresh value. The first of each list is what `env` prints."""

    tenant_id: str = Field(default_factory=lambda: str(uuid4()))
    subscription_id: str = Field(default_factory=lambda: str(uuid4()))
    principals: tuple[Principal, ...] = Field(default_factory=lambda: (Principal(),), min_length=1)
    workspaces: tuple[SeededWorkspace, ...] = Field(default_factory=lambda: (SeededWorkspace(),), min_length=1)
    taken_endpoint_names: tuple[str, ...] = ()

    def principal(self, client_id: str) -> Principal | None:
        return next((one for one in self.principals if one.client_id.lower() == client_id.lower()), None)


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
        values |= given
    try:
        seed = Seed.model_validate(values)
    except ValidationError as exc:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in exc.errors()]
        raise SeedError("\n".join(f"{path}: {problem}" for problem in problems)) from exc
    store.set_setting("seed", seed.model_dump_json())
    return seed
