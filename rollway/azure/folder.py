"""Rollout folders: Azure's YAML is read with the SDK's loaders, rollout.yml with our models.

Nothing here touches the network. All problems of all files are collected and raised together.
"""

import inspect
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from azure.ai.ml import load_online_deployment, load_online_endpoint
from azure.ai.ml.entities import (
    BuildContext,
    CodeConfiguration,
    Environment,
    ManagedOnlineDeployment,
    Model,
    OnlineDeployment,
    OnlineEndpoint,
    OnlineRequestSettings,
    ProbeSettings,
)
from azure.ai.ml.exceptions import MlException
from marshmallow import ValidationError

from rollway.azure.content import spec_of, variables_of
from rollway.azure.entities import identities_of, kind_of, tags_of
from rollway.azure.errors.translate import first_line
from rollway.errors import ConfigurationError, InvalidRollout
from rollway.files.local_files import check_local_files, lacks_server, nested
from rollway.files.no_code import check_no_code
from rollway.files.request_files import check_requests, read_smoke_requests
from rollway.files.scripts import possibly_missing
from rollway.files.yaml_files import read_yaml
from rollway.rollout.record import MOST_TAGS
from rollway.rollout.tags import MOST_CHARACTERS, PREFIX, is_ours
from rollway.settings import (
    ENDPOINT_FILE,
    ONLINE_DEPLOYMENT_FILE,
    ROLLOUT_FILE,
    find_folder,
    known_rollouts,
    require_rollout_folder,
)
from rollway.spec import (
    ROUTE_KINDS,
    EndpointSpec,
    OnlineDeploymentSpec,
    Problem,
    RolloutFile,
    RolloutSpec,
    ScoringRequest,
    check_name,
    check_online_deployment,
    check_strategy,
    did_you_mean,
    no_reference,
    parse_rollout_file,
    without_consequences,
)
from rollway.spec.wording import in_words_of_the_sdk

_YAML_NAMES = {  # of fields of the spec
    "code_sha256": "code",
    "missing_functions": "code",
    "lacks_server": "environment",
    "variables_digest": "environment_variables",
}
MOST_OWN_TAGS = 50 - MOST_TAGS  # 50 per resource: "Use tags to organize your Azure resources"

# The SDK's class of each part of deployment.yml. The parameters of its constructor are the known keys.
_SHAPES: Mapping[str, type] = {
    "": ManagedOnlineDeployment,
    "request_settings": OnlineRequestSettings,
    "liveness_probe": ProbeSettings,
    "readiness_probe": ProbeSettings,
    "code_configuration": CodeConfiguration,
    "environment": Environment,
    "environment.build": BuildContext,
    "model": Model,
}
# Keys that those constructors take without naming them.
_MORE_KEYS: Mapping[str, tuple[str, ...]] = {
    "environment": ("inference_config", "os_type"),
    "environment.inference_config": tuple(f"{kind}_route" for kind in ROUTE_KINDS),
}


def load_folder(folder: str) -> RolloutSpec:
    """Return the rollout of a folder, given by its path or by its name in deployments/.

    Raises InvalidRollout with every problem of every file.
    """
    folder = find_folder(folder)
    root = Path(folder)
    require_rollout_folder(root)
    problems: list[Problem] = []
    raw = {name: read_yaml(root / name, problems) for name in (ENDPOINT_FILE, ONLINE_DEPLOYMENT_FILE, ROLLOUT_FILE)}
    endpoint = _endpoint(root / ENDPOINT_FILE, raw[ENDPOINT_FILE], problems)
    endpoint_name = nested(raw[ENDPOINT_FILE], "name")
    if any(check_name(endpoint_name, "", "")):
        endpoint_name = None  # a fault of endpoint.yml, and none of deployment.yml
    _, deployment = _online_deployment(
        root / ONLINE_DEPLOYMENT_FILE, raw[ONLINE_DEPLOYMENT_FILE], endpoint_name, problems
    )
    kind = endpoint.kind if endpoint is not None else "managed"
    rollout, requests = _rollout(root / ROLLOUT_FILE, raw[ROLLOUT_FILE], kind, problems)
    if rollout is not None and rollout.follow is not None and not _has_model_by_reference(deployment):
        message = "needs a model that deployment.yml names by reference, such as azureml:<name>@latest"
        problems.append(Problem(file=str(root / ROLLOUT_FILE), field="follow", message=message))
    problems = without_consequences(problems)
    if problems or endpoint is None or deployment is None or rollout is None:
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        raise InvalidRollout(
            f"{folder} does not describe a rollout: {count}",
            problems,
            where=", ".join(dict.fromkeys(problem.file for problem in problems)),
            hint=f"correct what is listed, then check it with `rollway validate {shlex.quote(folder)}`",
        )
    return RolloutSpec(
        folder=folder, endpoint=endpoint, online_deployment=deployment, rollout=rollout, smoke_requests=requests
    )


def load_all_folders(folders: Sequence[str] | None = None) -> tuple[RolloutSpec, ...]:
    """Return the rollouts of some folders, default: of all; raises InvalidRollout with the problems of all of them."""
    names = known_rollouts() if folders is None else folders
    specs, errors = list[RolloutSpec](), list[InvalidRollout]()
    for name in names:
        try:
            specs.append(load_folder(name))
        except InvalidRollout as error:
            errors.append(error)
    if len(errors) > 1:
        problems = [problem for error in errors for problem in error.problems]
        raise InvalidRollout(
            f"{len(errors)} of {len(names)} folders do not describe a rollout",
            problems,
            where=", ".join(dict.fromkeys(problem.file for problem in problems)),
            hint="correct what is listed, then check it with `rollway validate`",
        )
    if errors:
        raise errors[0]
    return tuple(specs)


def load_endpoint_entity(folder: str) -> OnlineEndpoint:
    """Return the SDK's entity for endpoint.yml, with everything that the file says."""
    return load_online_endpoint(Path(folder) / ENDPOINT_FILE)


def load_online_deployment_entity(folder: str) -> OnlineDeployment:
    """Return the SDK's entity for deployment.yml, with everything that the file says."""
    return _load_online_deployment(load_endpoint_entity(folder).name, Path(folder) / ONLINE_DEPLOYMENT_FILE)


def load_unchanged(spec: RolloutSpec) -> OnlineDeployment:
    """Read deployment.yml again and return the SDK's entity for it, to create the online deployment from.

    Raises ConfigurationError if the file, or one that it names, is not as it was when `spec` was read.
    """
    path, problems = Path(spec.folder) / ONLINE_DEPLOYMENT_FILE, list[Problem]()
    entity, today = _online_deployment(path, read_yaml(path, problems), spec.endpoint.name, problems)
    if entity is None or today is None:
        raise _changed(path, "; ".join(map(str, problems)))
    planned = spec.online_deployment.model_dump()
    if fields := [_YAML_NAMES.get(key, key) for key, value in today.model_dump().items() if value != planned[key]]:
        raise _changed(path, f"different now: {', '.join(dict.fromkeys(fields))}")
    return entity


def _changed(path: Path, why: str) -> ConfigurationError:
    hint = "run the rollout again, and leave the files as they are while it runs"
    return ConfigurationError("the folder changed since the plan", where=str(path), why=why, hint=hint)


def _load_online_deployment(endpoint_name: object, path: Path) -> OnlineDeployment:
    # With the CLI the endpoint is often given on the command line, `az ml online-deployment create --endpoint-name`.
    return load_online_deployment(path, params_override=[{"endpoint_name": endpoint_name}])


def _endpoint(path: Path, raw: object, problems: list[Problem]) -> EndpointSpec | None:
    if not _is_mapping(path, raw, problems):
        return None
    document = cast(dict[str, Any], raw)
    found = list(check_name(document.get("name"), str(path), "name"))
    for key in ("traffic", "mirror_traffic"):
        if document.get(key):
            message = "is set by Rollway, after the smoke test: remove it"
            found.append(Problem(file=str(path), field=key, message=message))
    found += _tag_problems(document, str(path))
    entity = _load(load_online_endpoint, path, raw, found, {"": OnlineEndpoint})
    problems += found
    if entity is None or found:
        return None
    return EndpointSpec(
        name=entity.name,
        auth_mode=entity.auth_mode,
        # Kubernetes online endpoints have none.
        public_network_access=(getattr(entity, "public_network_access", None) or "enabled").lower(),
        kind=kind_of(entity),
        location=entity.location,
        identities=identities_of(entity),
        description=entity.description,
        tags=tags_of(entity),
    )


def _online_deployment(
    path: Path, raw: object, endpoint_name: object, problems: list[Problem]
) -> tuple[OnlineDeployment | None, OnlineDeploymentSpec | None]:
    if not _is_mapping(path, raw, problems):
        return None, None
    document = cast(dict[str, Any], raw)
    found = [
        *check_online_deployment(document, endpoint_name, str(path)),
        *_tag_problems(document, str(path)),
        *check_local_files(path, document),
        *check_no_code(path, document),
    ]
    entity = _load(partial(_load_online_deployment, endpoint_name or "unknown"), path, document, found, _SHAPES)
    problems += found
    if entity is None or found:
        return None, None
    spec = spec_of(entity, document, path.parent).model_copy(
        update={
            "missing_functions": possibly_missing(path.parent, document),
            "lacks_server": lacks_server(path.parent, document),
        }
    )
    entity.environment_variables = variables_of(entity)  # Azure keeps text, whatever the YAML says
    return entity, spec


def _rollout(
    path: Path, raw: object, kind: str, problems: list[Problem]
) -> tuple[RolloutFile | None, tuple[ScoringRequest, ...]]:
    if raw is None and problems and problems[-1].file == str(path):  # unreadable, which is already reported
        return None, ()
    parsed = parse_rollout_file(raw, str(path))
    if isinstance(parsed, list):
        problems += parsed
        return None, ()
    requests, faults = read_smoke_requests(parsed, path.parent)
    problems += [*check_strategy(parsed, kind, str(path)), *check_requests(parsed, path.parent), *faults]
    return (None if faults else parsed), requests


def _has_model_by_reference(deployment: OnlineDeploymentSpec | None) -> bool:
    if deployment is None:  # invalid itself, so the question is open
        return True
    return deployment.model is not None and deployment.model.reference is not None


def _is_mapping(path: Path, raw: object, problems: list[Problem]) -> bool:
    if raw is None and any(problem.file == str(path) for problem in problems):
        return False
    if not isinstance(raw, dict):
        problems.append(Problem(file=str(path), message="must be a YAML mapping, as `az ml … create --file` takes it"))
        return False
    return True


def _tag_problems(raw: Mapping[str, Any], file: str) -> Iterator[Problem]:
    """Yield problems of `tags` that Azure would refuse, or that would be mixed up with Rollway's record."""
    tags = raw.get("tags")
    if not isinstance(tags, Mapping):  # the SDK's schema reports it
        return
    if len(tags) > MOST_OWN_TAGS:
        message = f"has {len(tags)} tags, allowed are {MOST_OWN_TAGS}: Rollway's record needs the rest of Azure's 50"
        yield Problem(file=file, field="tags", message=message)
    for name, value in tags.items():
        if is_ours(str(name).lower()):  # Azure ignores the case of tag names
            message = f"names that begin with {PREFIX!r} belong to Rollway's record: choose another name"
            yield Problem(file=file, field=f"tags.{name}", message=message)
        if len(str(value)) > MOST_CHARACTERS:
            message = f"has {len(str(value))} characters, allowed are {MOST_CHARACTERS}"
            yield Problem(file=file, field=f"tags.{name}", message=message)


def _load(loader: Any, path: Path, raw: object, found: list[Problem], shapes: Mapping[str, type]) -> Any:
    """Return the SDK's entity; if it is invalid, add the SDK's problems to `found`, without fields that have one."""
    checked = tuple(f"{problem.field}." for problem in found)
    try:
        return loader(path)
    except ValidationError as error:
        # azure/ai/ml/entities/_util.py raises a decorated text from the ValidationError that holds the structure.
        messages = error.__context__.messages if isinstance(error.__context__, ValidationError) else error.messages
        for field, message in _leaves(messages, raw, shapes):
            if not field or not any(one.startswith(f"{field}.") for one in checked):
                found.append(Problem(file=str(path), field=field, message=message))
        if not found:
            found.append(Problem(file=str(path), message=first_line(str(error))))
    except MlException as error:
        if not found:
            found.append(Problem(file=str(path), message=first_line(str(error.message))))
    except (AttributeError, KeyError, TypeError) as error:  # the SDK does not check every form before it uses it
        if not found:
            missing = re.search(r"missing .*argument.*: (.+)", str(error))
            fault = f"a part lacks {missing[1]}" if missing else first_line(str(error))
            found.append(Problem(file=str(path), message=f"does not have the form of Azure's schema: {fault}"))
    return None


def _leaves(messages: Any, raw: Any, shapes: Mapping[str, type], field: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(messages, dict):
        for key, value in messages.items():
            inner = field if key == "_schema" else f"{field}.{key}".lstrip(".")
            yield from _leaves(value, raw, shapes, inner)
    elif field in ("model", "environment") and not isinstance(nested(raw, field), dict):
        yield (
            field,
            no_reference(nested(raw, field)),
        )
    elif field in ("model", "environment") and isinstance(messages, list) and not isinstance(messages[-1], str):
        yield from _leaves(messages[-1], raw, shapes, field)  # the last alternative is the definition
    else:
        # The SDK reports every alternative of a field that may be a reference or a definition. Show only the first.
        texts = list(dict.fromkeys(_texts(messages)))
        for text in texts[:1]:
            # Of a part that has several forms, the text begins with the key inside it.
            key, _, rest = text.partition(": ")
            is_inside = nested(raw, f"{field}.{key}") is not None or rest.startswith("Missing data")
            place, fault = (f"{field}.{key}", rest) if is_inside else (field, text)
            words = in_words_of_the_sdk(fault, nested(raw, place), place.split("."))
            yield place, words if fault != "Unknown field." else _unknown(place, shapes)


def _texts(messages: Any) -> Iterator[str]:
    if isinstance(messages, str):
        if not messages.startswith("In order to specify an existing"):
            yield messages
    elif isinstance(messages, dict):
        for key, value in messages.items():
            for text in _texts(value):
                yield text if key == "_schema" else f"{key}: {text}"
    else:
        for message in messages:
            yield from _texts(message)


def _unknown(field: str, shapes: Mapping[str, type]) -> str:
    parent, _, key = field.rpartition(".")
    shape = shapes.get(parent)
    known = [name for name in inspect.signature(shape).parameters if name != "kwargs"] if shape else []
    known += _MORE_KEYS.get(parent, ())
    return "unknown key" + did_you_mean(key, known)
