"""The models and environments of a workspace or registry in memory, behind the few calls that Rollway makes of them."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import yaml
from azure.ai.ml.entities import Environment, Model
from azure.ai.ml.entities._system_data import SystemData
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from rollway.azure.session import Session
from tests.support.builders import WORKSPACE_ID

FIRST = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)  # when the first version was registered


class FakeModels:
    """Model versions; archived ones can be read but are not listed. `requests` tells every request, in order."""

    def __init__(self) -> None:
        self.versions: list[Model] = []
        self.archived: list[str] = []
        self.requests: list[str] = []
        self.error: HttpResponseError | None = None  # of every list

    def have(self, *versions: str, name: str = "diabetes", **values: Any) -> None:
        """Register versions, one a minute after the other."""
        for version in versions:
            at = SystemData(created_at=FIRST + timedelta(minutes=len(self.versions)))
            model_id = f"{WORKSPACE_ID}/models/{name}/versions/{version}"
            self.versions.append(
                Model(name=name, version=version, path="x", id=model_id, creation_context=at, **values)
            )

    def list(self, name: str | None = None) -> list[Model]:
        """Return the active versions of a model, or of all models."""
        self.requests.append("list models")
        if self.error is not None:
            raise self.error
        return [one for one in self.versions if name in (None, one.name) and one.version not in self.archived]

    def get(self, name: str, version: str | None = None, label: str | None = None) -> Model:
        """Return a version; the label is `latest`."""
        self.requests.append(f"get model {version or label}")
        found = [one for one in self.versions if one.name == name and version in (None, one.version)]
        if not found:
            raise ResourceNotFoundError(f"no model {name}:{version or label}")
        return found[-1]


class FakeEnvironments:
    """The environments of a workspace, kept as the service does and read back as the SDK does."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.requests: list[str] = []
        self.writes = 0

    @property
    def session(self) -> Session:
        """The session whose client talks to this fake."""
        return cast(Session, SimpleNamespace(ml=SimpleNamespace(environments=self)))

    def get(self, name: str, version: str) -> Environment:
        """The version of that name."""
        self.requests.append(f"get environment {version}")
        found = self.kept.get(self._id(name, version))
        if found is None:
            raise ResourceNotFoundError(f"{name}:{version}")
        return Environment._from_rest_object(found)

    def list(self, name: str | None = None) -> list[Environment]:
        """All versions of a name."""
        self.requests.append("list environments")
        return [Environment._from_rest_object(one) for one in self._of(name)]

    def create_or_update(self, entity: Environment) -> Environment:
        """Registers a version, the next one if the definition has none."""
        self.writes += 1
        version = entity.version or str(len(self._of(entity.name)) + 1)
        resource = entity._to_rest_object()
        if text := resource.properties.conda_file:  # the service keeps it as JSON
            resource.properties.conda_file = json.dumps(yaml.safe_load(text), indent=2, default=str)
        # The service adds these; the models of the SDK take them only from an answer.
        resource["id"] = self._id(str(entity.name), version)
        self.kept[resource["id"]] = resource
        return Environment._from_rest_object(resource)

    def _of(self, name: str | None) -> tuple[Any, ...]:
        return tuple(one for key, one in self.kept.items() if f"/{name}/" in key)

    @staticmethod
    def _id(name: str, version: str) -> str:
        return f"{WORKSPACE_ID}/environments/{name}/versions/{version}"
