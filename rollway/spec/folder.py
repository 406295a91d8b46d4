"""A rollout folder as frozen values, and the checks that need only the text of its files."""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Literal

from pydantic import JsonValue

from rollway.spec.rollout_file import RolloutFile
from rollway.spec.smoke_test import ScoringRequest
from rollway.spec.values import Frozen, HiddenText, Problem
from rollway.spec.wording import shown

# Limits of managed online endpoints: learn.microsoft.com, "Manage and increase quotas", section online endpoints.
NAME_RULE = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{1,30}[a-zA-Z0-9]")
NAME_LIMITS = "3 to 32 letters, digits and '-', a letter first, no '-' last"
MAX_INSTANCES = 50
MAX_REQUEST_TIMEOUT_MS = 180_000
MAX_CONCURRENCY = 10_000  # of one instance
MAX_PROBE_SETTING = 3600  # seconds, or a number of checks
ROUTE_KINDS = ("liveness", "readiness", "scoring")  # of a custom container: <kind>_route in its inference_config


class EndpointSpec(Frozen):
    """The fields of endpoint.yml that Rollway compares with Azure; creation uses the file itself."""

    name: str
    auth_mode: Literal["key", "aml_token", "aad_token"] = "key"
    public_network_access: Literal["enabled", "disabled"] = "enabled"
    kind: Literal["managed", "kubernetes"] = "managed"
    location: str | None = None
    identities: tuple[str, ...] = ()  # "system_assigned", or ids of user-assigned ones; empty if the file has none
    description: str | None = None
    tags: dict[str, str] = {}


class AssetSpec(Frozen):
    """A model or an environment in deployment.yml: a reference or an inline definition."""

    reference: str | None = None  # name:version, name@latest, ARM id or registry id; None: defined inline
    name: str | None = None  # of an inline definition
    version: str | None = None
    sha256: str | None = None  # of an environment's inline definition, with the files that it names

    def __str__(self) -> str:
        return self.reference or f"{self.name or 'unnamed'}:{self.version or 'next version'}"


class OnlineDeploymentSpec(Frozen):
    """deployment.yml: the content of the fingerprint, and name, instance count and tags.

    Attributes:
        code_sha256: Hash of the files in the code folder.
        settings: The keys that the file has, except those above and `environment_variables`; with the names and units
            of Azure's YAML.
        environment_variables: Their values are hidden, but can be compared with Azure's.
        variables_digest: Hash of all environment variables together; None if there are none.
        missing_functions: Functions that the scoring script lacks, if its environment may or may not need them.
        lacks_server: True if the conda file names no package that brings the server which runs the script.
    """

    name: str
    model: AssetSpec | None
    environment: AssetSpec | None
    code_sha256: str | None
    instance_count: int
    tags: dict[str, str] = {}
    settings: dict[str, JsonValue]
    environment_variables: dict[str, HiddenText] = {}
    variables_digest: str | None = None
    missing_functions: tuple[str, ...] = ()
    lacks_server: bool = False


class RolloutSpec(Frozen):
    """A rollout folder, read and checked; without `smoke_requests` there is no smoke test."""

    folder: str
    endpoint: EndpointSpec
    online_deployment: OnlineDeploymentSpec
    rollout: RolloutFile
    smoke_requests: tuple[ScoringRequest, ...]

    @property
    def name(self) -> str:
        """Name of the folder, which is also the name of the rollout."""
        return self.folder.rstrip("/").rsplit("/", 1)[-1]

    @property
    def is_smoke_tested(self) -> bool:
        """True if the candidate must answer before it gets traffic; otherwise Azure's readiness is enough."""
        return bool(self.smoke_requests)

    @property
    def probe_requests(self) -> tuple[ScoringRequest, ...]:
        """The requests of the smoke test that a healthy model answers with 200."""
        return tuple(one for one in self.smoke_requests if one.expect.status == HTTPStatus.OK)


def check_name(value: object, file: str, field: str) -> Iterator[Problem]:
    """Yield a problem if the name of an endpoint or online deployment is invalid."""
    if not isinstance(value, str) or not NAME_RULE.fullmatch(value):
        fault = "is missing" if value is None else f"{value!r} is not a valid name"
        yield Problem(file=file, field=field, message=f"{fault}: {NAME_LIMITS}")


def check_range(raw: Mapping[str, Any], field: str, low: int, high: int, file: str) -> Iterator[Problem]:
    """Yield a problem if the integer at a dotted `field` is out of range; other types and absent values pass."""
    value: Any = raw
    for key in field.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, int) and not isinstance(value, bool) and not low <= value <= high:
        yield Problem(file=file, field=field, message=f"{value} is out of range, allowed is {low} to {high}")


def no_reference(value: object) -> str:
    """Return the words for something that stands where a model or an environment must be named or defined."""
    return (
        f"{value!r} is not a reference; write azureml:<name>:<version>, azureml:<name>@latest, azureml:<ARM id>, "
        "azureml://registries/<registry>/…, or a definition with its own keys"
    )


def _form_problems(raw: Mapping[str, Any], file: str) -> Iterator[Problem]:
    """Yield problems of parts that are neither text nor a mapping, which the SDK's schema does not survive."""
    code, environment = raw.get("code_configuration"), raw.get("environment")
    for field in ("model", "environment"):
        if not isinstance(raw.get(field), str | Mapping | None):
            yield Problem(file=file, field=field, message=no_reference(raw[field]))
    if not isinstance(code, Mapping | None):
        message = f"{shown(code)} is not a mapping: write code and scoring_script below it"
        yield Problem(file=file, field="code_configuration", message=message)
    conda_file = environment.get("conda_file") if isinstance(environment, Mapping) else None
    if not isinstance(conda_file, str | Mapping | None):
        message = f"{shown(conda_file)} is not the path of a conda file"
        yield Problem(file=file, field="environment.conda_file", message=message)


def check_online_deployment(raw: Mapping[str, Any], endpoint_name: object, file: str) -> Iterator[Problem]:
    """Yield problems that the SDK's schema lets pass but Azure refuses; `endpoint_name` is that of endpoint.yml."""
    if "name" in raw:
        yield from check_name(raw["name"], file, "name")
    yield from _form_problems(raw, file)
    if isinstance(endpoint_name, str) and raw.get("endpoint_name") not in (None, endpoint_name):
        message = f"{raw['endpoint_name']!r} is not the endpoint of endpoint.yml, {endpoint_name!r}"
        yield Problem(file=file, field="endpoint_name", message=message)
    code, environment = raw.get("code_configuration"), raw.get("environment")
    if isinstance(code, Mapping) and code.get("code") and code.keys() == {"code"}:
        message = "is missing: name the file in `code` that has init() and run()"
        yield Problem(file=file, field="code_configuration.scoring_script", message=message)
    if isinstance(environment, Mapping) and not environment.keys() & {"image", "build"}:
        message = "has neither image nor build; a conda_file is installed on top of an image"
        yield Problem(file=file, field="environment", message=message)
    variables = raw.get("environment_variables")
    for name, value in variables.items() if isinstance(variables, Mapping) else ():
        if isinstance(value, list | dict):
            message = f"{shown(value)} is not text: quote it"
            yield Problem(file=file, field=f"environment_variables.{name}", message=message)
    yield from check_range(raw, "instance_count", 1, MAX_INSTANCES, file)
    yield from check_range(raw, "request_settings.request_timeout_ms", 1, MAX_REQUEST_TIMEOUT_MS, file)
    yield from check_range(raw, "request_settings.max_concurrent_requests_per_instance", 1, MAX_CONCURRENCY, file)
    yield from _route_problems(environment, file)
    mount_path = raw.get("model_mount_path")
    if isinstance(mount_path, str) and not mount_path.startswith("/"):
        message = f"{mount_path!r} is not an absolute path in the container"
        yield Problem(file=file, field="model_mount_path", message=message)
    for probe in ("liveness_probe", "readiness_probe"):
        for field in ("period", "timeout", "success_threshold", "failure_threshold"):
            yield from check_range(raw, f"{probe}.{field}", 1, MAX_PROBE_SETTING, file)


def is_remote(value: object) -> bool:
    """Return True if a path in deployment.yml is a reference or an address instead of a local file."""
    return isinstance(value, str) and value.startswith(("azureml:", "http:", "https:"))


def _route_problems(environment: object, file: str) -> Iterator[Problem]:
    """Yield problems of the routes of a custom container."""
    config = environment.get("inference_config") if isinstance(environment, Mapping) else None
    for kind in ROUTE_KINDS:
        route = config.get(f"{kind}_route") if isinstance(config, Mapping) else None
        if isinstance(route, Mapping):
            field = f"environment.inference_config.{kind}_route"
            if isinstance(route.get("path"), str) and not route["path"].startswith("/"):
                message = f"{route['path']!r} must begin with '/'"
                yield Problem(file=file, field=f"{field}.path", message=message)
            for problem in check_range(route, "port", 1, 65535, file):
                yield problem.model_copy(update={"field": f"{field}.port"})
