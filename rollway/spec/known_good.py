"""Azure's YAML that is valid for sure, so that a check need not import the SDK, which takes seconds.

A file that is not valid for sure may still be valid: the SDK decides, and says what is wrong. The models hold the keys
and the types that most files have; tests compare them with the SDK.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rollway.spec.folder import (
    MAX_CONCURRENCY,
    MAX_INSTANCES,
    MAX_PROBE_SETTING,
    MAX_REQUEST_TIMEOUT_MS,
    NAME_RULE,
)

ABSENT: Any = None  # a key may be absent, but not null

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=f"^{NAME_RULE.pattern}$")]
AssetName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,200}$")]
Reference = Annotated[str, Field(pattern=r"^azureml:[a-zA-Z0-9][a-zA-Z0-9_.-]*(:[a-zA-Z0-9][a-zA-Z0-9_.-]*|@latest)$")]
Tags = Annotated[
    dict[Annotated[str, Field(pattern=r"^[a-z0-9_.-]+$")], Annotated[str, Field(max_length=256)]],
    Field(max_length=10),
]
Access = Literal["enabled", "disabled"]
Count = Annotated[int, Field(ge=1, le=MAX_PROBE_SETTING)]


class _Known(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class _Yaml(_Known):
    schema_: Annotated[str, Field(alias="$schema")] = ABSENT
    description: Text = ABSENT
    tags: Tags = ABSENT


class _Endpoint(_Yaml):
    name: Name
    auth_mode: Literal["key", "aml_token", "aad_token"] = ABSENT
    public_network_access: Access = ABSENT


class _Code(_Known):
    code: Text
    scoring_script: Text


class _Route(_Known):
    path: Annotated[str, Field(pattern="^/")]
    port: Annotated[int, Field(ge=1, le=65535)]


class _Routes(_Known):
    liveness_route: _Route
    readiness_route: _Route
    scoring_route: _Route


class _Environment(_Known):
    name: AssetName = ABSENT
    version: AssetName = ABSENT
    description: Text = ABSENT
    image: Text
    conda_file: Text = ABSENT
    inference_config: _Routes = ABSENT


class _Settings(_Known):
    request_timeout_ms: Annotated[int, Field(ge=1, le=MAX_REQUEST_TIMEOUT_MS)] = ABSENT
    max_concurrent_requests_per_instance: Annotated[int, Field(ge=1, le=MAX_CONCURRENCY)] = ABSENT
    max_queue_wait_ms: Annotated[int, Field(ge=1, le=MAX_REQUEST_TIMEOUT_MS)] = ABSENT


class _Probe(_Known):
    initial_delay: Annotated[int, Field(ge=0, le=MAX_PROBE_SETTING)] = ABSENT
    period: Count = ABSENT
    timeout: Count = ABSENT
    success_threshold: Count = ABSENT
    failure_threshold: Count = ABSENT


class _Scale(_Known):
    type: Literal["default"]


class _OnlineDeployment(_Yaml):
    name: Name
    endpoint_name: Name = ABSENT
    type: Literal["managed"] = ABSENT
    model: Reference
    code_configuration: _Code = ABSENT
    environment: Reference | _Environment = ABSENT
    environment_variables: dict[Text, str | int | float | bool] = ABSENT
    app_insights_enabled: bool = ABSENT
    instance_type: Text
    instance_count: Annotated[int, Field(ge=1, le=MAX_INSTANCES)] = ABSENT
    request_settings: _Settings = ABSENT
    liveness_probe: _Probe = ABSENT
    readiness_probe: _Probe = ABSENT
    scale_settings: _Scale = ABSENT
    egress_public_network_access: Access = ABSENT


def is_endpoint(document: Any) -> bool:
    """Return True if the SDK surely takes the content of an endpoint.yml."""
    return _is(_Endpoint, document)


def is_online_deployment(document: Any) -> bool:
    """Return True if the SDK surely takes the content of a deployment.yml; files that it names are not looked at."""
    return _is(_OnlineDeployment, document)


def _is(known: type[BaseModel], document: Any) -> bool:
    try:
        known.model_validate(document)
    except ValidationError:
        return False
    return True
