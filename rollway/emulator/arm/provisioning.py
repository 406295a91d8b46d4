"""Provisioning of online deployments: build the environment, download model and code, start containers."""

import logging
from pathlib import Path

from rollway.emulator.arm.endpoints import find_deployments, parent_endpoint_id, remove_endpoint, without_deployment
from rollway.emulator.arm.registry import find_asset
from rollway.emulator.arm.storage_uris import parse_uri
from rollway.emulator.core import errors
from rollway.emulator.core.clock import format_iso
from rollway.emulator.core.durations import parse_duration
from rollway.emulator.core.errors import Document
from rollway.emulator.core.operations import Operation
from rollway.emulator.core.store import Resource
from rollway.emulator.runtime.container import ContainerSpec
from rollway.emulator.runtime.fleet import ContainerFailed, Revision
from rollway.emulator.runtime.images import ImageBuildFailed, ImageRecipe, build_image
from rollway.emulator.runtime.mlflow_model import SCRIPT, conda_file, write_script
from rollway.emulator.runtime.probes import ProbeSettings
from rollway.emulator.runtime.programs import Program, find_program
from rollway.emulator.runtime.recipes import RecipeError, expand
from rollway.emulator.runtime.routes import Routes
from rollway.emulator.state import Emulator, environment_cache

log = logging.getLogger("rollway.emulator.arm.provisioning")

BUILD_LOG, STORAGE_LOG, SERVER_LOG = "image-build.log", "storage-initializer.log", "instances/0/inference-server.log"
SHOWN_BUILD_LINES = 20


class DownloadFailed(Exception):
    """A model, code or build context is not in storage. The text says which one."""


async def provision(emulator: Emulator, operation: Operation) -> None:
    """Start the containers for an operation, send requests to them, and set the operation's outcome."""
    assert operation.result is not None  # noqa: S101 - PUT and PATCH set it
    try:
        revision = await _start_revision(emulator, operation.result)
    except _FAILURES as exc:
        emulator.operations.set_outcome(operation, _operation_error(exc, emulator.origin))
        return
    except Exception as exc:
        log.exception("provisioning of %s failed with an unexpected error", operation.resource)
        reason = f"{exc.strerror}: {exc.filename}. " if isinstance(exc, OSError) and exc.strerror else ""
        text = f"{reason}See the emulator's log."
        error = errors.failed_operation("InternalServerError", text, emulator.origin)
        emulator.operations.set_outcome(operation, error)
        return
    await emulator.fleet.replace(operation.resource, revision)
    emulator.operations.set_outcome(operation)


async def restore(emulator: Emulator, deployment: Resource) -> None:
    """Start the containers of an online deployment again after a restart of the emulator."""
    try:
        revision = await _start_revision(emulator, deployment.private["serving"])
    except _FAILURES as exc:
        log.error("%s could not be started after the restart: %s", deployment.id, exc)
        return
    await emulator.fleet.replace(deployment.id, revision)


_FAILURES = (ImageBuildFailed, ContainerFailed, DownloadFailed)


def _operation_error(failure: Exception, origin: errors.Origin) -> Document:
    """Return the operation's error, with Azure's code for the failure."""
    if isinstance(failure, ImageBuildFailed):
        tail = "\n".join(failure.log.splitlines()[-SHOWN_BUILD_LINES:])
        return errors.failed_operation(failure.code, f"{failure}\n{tail}\n", origin, [failure.log])
    if isinstance(failure, DownloadFailed):
        return errors.failed_operation("ResourceNotFound", str(failure), origin)
    text = f"{failure} Please see the container's log with getLogs."
    return errors.failed_operation("ResourceNotReady", text, origin)


async def remove_deployment(emulator: Emulator, operation: Operation) -> None:
    """Delete an online deployment: drain and stop it, and remove its name from the endpoint's weights."""
    await emulator.fleet.remove(operation.resource)
    endpoint = emulator.store.get(parent_endpoint_id(operation.resource))
    if endpoint is not None:
        emulator.store.put(without_deployment(endpoint, operation.resource.rpartition("/")[2]))
    emulator.operations.set_outcome(operation)


def resume_operations(emulator: Emulator) -> None:
    """Resume unfinished operations after a start, and start the containers of every online deployment that had any."""
    emulator.operations.end_due()
    unfinished = [one for one in emulator.operations.running.values() if one.outcome is None]
    deleted = {one.resource.lower() for one in unfinished if one.method == "DELETE"}
    for deployment in find_deployments(emulator, ""):
        is_deleted = deleted & {deployment.id.lower(), parent_endpoint_id(deployment.id).lower()}
        if deployment.private.get("serving") and not is_deleted:
            emulator.spawn(restore(emulator, deployment), f"restore {deployment.id}")
    for operation in unfinished:
        if operation.method != "DELETE":
            work = provision(emulator, operation)
        elif "/deployments/" in operation.resource.lower().partition("/onlineendpoints/")[2]:
            work = remove_deployment(emulator, operation)
        else:
            work = remove_endpoint(emulator, operation)
        emulator.spawn(work, f"resume {operation.method} {operation.resource}")


async def _start_revision(emulator: Emulator, deployment: Document) -> Revision:
    """Build, download and start the containers of an online deployment's document. Return the ready revision."""
    properties = deployment["properties"]
    folder = emulator.fleet.new_folder(deployment["id"])
    variables = emulator.access.variables(deployment["id"], properties.get("dataCollector"), folder)
    environment = None
    if properties.get("environmentId"):
        environment = _require_asset(emulator, properties["environmentId"])
        python, program = await _build(emulator, environment, folder)
    code, model, model_name, model_version = await _download(emulator, properties, folder)
    script = (properties.get("codeConfiguration") or {}).get("scoringScript")
    if environment is None:  # an MLflow model, from which Azure makes script and environment
        assert model is not None  # noqa: S101 - checked when the online deployment was created
        code, script = write_script(folder), SCRIPT
        python, program = await _build_image(emulator, ImageRecipe(None, conda_file(model)), folder)
        variables["MLFLOW_MODEL_FOLDER"] = model.name
    elif script is None and program.is_mlflow:
        code, script = write_script(folder), SCRIPT
    settings = properties["requestSettings"]
    names = deployment["id"].split("/")
    specs = [
        ContainerSpec(
            name=f"{names[-3]}/{names[-1]}/{number}",
            python=python,
            app_root=folder / "instances" / str(number),
            code=code,
            entry_script=script,
            model=model,
            model_name=model_name,
            model_version=model_version,
            environment_variables=variables | (properties.get("environmentVariables") or {}),
            request_timeout_seconds=parse_duration(settings["requestTimeout"]) or 5.0,
            routes=Routes.from_document(None if environment is None else environment.properties.get("inferenceConfig")),
            has_startup_probe=bool(properties.get("startupProbe")),
            program=program,
            model_mount_path=properties.get("modelMountPath") or None,
        )
        for number in range(deployment["sku"]["capacity"])
    ]
    liveness, readiness = (
        ProbeSettings.from_document(properties[name]) for name in ("livenessProbe", "readinessProbe")
    )
    given = properties.get("startupProbe")
    startup = ProbeSettings.from_document(given) if given else None
    concurrency = settings["maxConcurrentRequestsPerInstance"]
    revision = Revision.from_specs(folder, specs, concurrency, liveness, readiness, startup)
    await emulator.fleet.start(revision)
    return revision


async def _build(emulator: Emulator, environment: Resource, folder: Path) -> tuple[Path, Program]:
    """Build a registered environment. Return its interpreter and how its container starts."""
    properties = environment.properties
    context = None
    if build := properties.get("build"):
        context = await _download_url(emulator, build["contextUri"], folder / "context")
    dockerfile = (build or {}).get("dockerfilePath") or "Dockerfile"
    recipe = ImageRecipe(properties.get("image"), properties.get("condaFile"), context, dockerfile)
    return await _build_image(emulator, recipe, folder)


async def _build_image(emulator: Emulator, recipe: ImageRecipe, folder: Path) -> tuple[Path, Program]:
    """Build an environment. Return its interpreter and how its container starts.

    The build log is written to the revision's folder.
    """
    cache = environment_cache()
    cache.mkdir(parents=True, exist_ok=True)
    with (folder / BUILD_LOG).open("w") as file:

        def write(line: str) -> None:
            file.write(line.rstrip("\n") + "\n")
            file.flush()

        try:
            program = find_program(recipe, emulator.images)
            recipe = expand(recipe, emulator.images)
        except RecipeError as exc:
            write(f"error: {exc}")
            raise ImageBuildFailed(str(exc), str(exc), exc.code) from exc
        for instruction in program.not_run:
            write(f"warning: not run without Docker: {instruction}")
        return await build_image(recipe, cache, write, emulator.images) / "bin" / "python", program


async def _download(
    emulator: Emulator, properties: Document, folder: Path
) -> tuple[Path | None, Path | None, str, str]:
    """Download code and model, like Azure's storage initializer. Return both paths and the model's name and version."""
    with (folder / STORAGE_LOG).open("w") as file:

        def write_log(text: str) -> None:
            file.write(f"{format_iso(emulator.clock.now())} {text}\n")

        code = None
        if code_id := (properties.get("codeConfiguration") or {}).get("codeId"):
            uri = _require_asset(emulator, code_id).properties["codeUri"]
            code = await _download_url(emulator, uri, folder / "code")
            write_log(f"Downloaded the code to {code.name}")
        if not (reference := properties.get("model")):
            write_log("There is no model to download")
            return code, None, "none", "0"
        model = _require_asset(emulator, reference)
        name, version = model.id.split("/")[-3], model.name
        write_log(f"Downloading model {name}:{version} from {model.properties['modelUri']}")
        try:
            path = await _download_url(emulator, model.properties["modelUri"], folder / "model")
        except DownloadFailed as exc:
            write_log(f"StorageManifestError: {exc}")
            raise
        write_log(f"Downloaded model {name}:{version} as {path.name}")
        return code, path, name, version


def _require_asset(emulator: Emulator, reference: str) -> Resource:
    found = find_asset(emulator, reference)
    if found is None:
        raise DownloadFailed(f"{reference} is not registered.")
    return found


async def _download_url(emulator: Emulator, uri: str, target: Path) -> Path:
    """Copy a blob URL, or an `azureml://.../datastores/{d}/paths/{p}` URI, into the folder `target`.

    Return the copied file or folder. Raises DownloadFailed.
    """
    try:
        container, name = parse_uri(emulator, uri)
        return await emulator.blobs.download(container, name, target)
    except (ValueError, FileNotFoundError) as exc:
        raise DownloadFailed(str(exc)) from exc
