"""Types of the flows' parameters; Prefect's forms show their limits, and its API enforces them.

A form offers the rollout folders that existed when `prefect deploy` ran. Python also accepts any path, so that the
command line works with folders anywhere.
"""

from typing import Annotated, Literal

from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from rollway.settings import known_rollouts


class _OfferedRollouts:
    # Not `json_schema_extra`: Prefect sets its own, and pydantic then drops ours.
    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        names = known_rollouts()
        return {**schema, "enum": names} if names else schema


RolloutName = Annotated[str, _OfferedRollouts()]
"""Name of a folder in deployments/; a drop-down in the form."""

# Azure ML's rule for the version of an asset.
MODEL_VERSION_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$"
ModelVersion = Annotated[str, Field(pattern=MODEL_VERSION_PATTERN)]
"""Version of a registered model, such as `7`; not a reference such as `azureml:diabetes:7`."""

Weight = Annotated[int, Field(ge=1, le=100)]
"""Percent of the traffic for the new online deployment."""

BlockName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
"""Name of a saved Prefect block."""

Requester = Literal["person", "schedule", "watcher"]
"""Who asks for a run."""
