"""Kinds of registered assets: models, environments, codes and data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rollway.emulator.arm.resource_manager import PROVIDER, Call
from rollway.emulator.core.errors import Document

REGISTRIES = "azureml://registries"  # prefix of the ids of assets in registries


@dataclass(frozen=True)
class AssetKind:
    """A kind of asset.

    Args:
        label: Name of the kind in error texts.
        segment: Name of the kind in paths.
        content: Properties that cannot change once a version is registered.
        needs: Properties of which one is required.
        defaults: Default properties of a version.
        status_again: Status of the response to a PUT of a version that exists already.
    """

    label: str
    segment: str
    content: tuple[str, ...]
    needs: tuple[str, ...]
    defaults: Mapping[str, Any]
    status_again: int = 200
    is_in_registry: bool = False

    @property
    def type(self) -> str:
        return f"{PROVIDER}/{'registries' if self.is_in_registry else 'workspaces'}/{self.segment}/versions"

    @property
    def container_type(self) -> str:
        """Type of the resource that has all versions of one name."""
        return self.type.removesuffix("/versions")

    def id(self, call: Call, tail: str = "") -> str:
        """Return the id of an asset of this kind. `tail` is a template with the path's parameters."""
        if not self.is_in_registry:
            return call.id(f"/{self.segment}{tail}")
        return f"{REGISTRIES}/{call.params['registry']}/{self.segment}{tail.format(**call.params)}"


COMMON: Document = {"description": None, "isAnonymous": False, "isArchived": False, "provisioningState": "Succeeded"}
MODELS = AssetKind(
    "Model",
    "models",
    content=("modelUri", "modelType"),
    needs=("modelUri",),
    # azure-ai-ml crashes on responses without flavors.
    defaults={
        **COMMON,
        "modelType": "custom_model",
        "flavors": {},
        "jobName": None,
        "stage": "Logged",
        "intellectualProperty": None,
        "autoDeleteSetting": None,
    },
)
ENVIRONMENTS = AssetKind(
    "Environment",
    "environments",
    content=("image", "condaFile", "build", "inferenceConfig", "osType"),
    needs=("image", "build"),
    defaults={**COMMON, "environmentType": "UserCreated", "osType": "Linux", "image": None, "condaFile": None},
    status_again=201,
)
DATA = AssetKind(
    "Data",
    "data",
    content=("dataUri", "dataType"),
    needs=("dataUri",),
    defaults={**COMMON, "dataType": "uri_folder"},
)
CODES = AssetKind("Code", "codes", content=("codeUri",), needs=("codeUri",), defaults=COMMON)
REGISTRY_MODELS = replace(MODELS, is_in_registry=True)
REGISTRY_ENVIRONMENTS = replace(ENVIRONMENTS, is_in_registry=True)
