"""Registered assets: versions of models, environments and codes, in the order of creation."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.asset_kinds import CODES, DATA, ENVIRONMENTS, MODELS, AssetKind
from rollway.emulator.arm.asset_lists import get_container, list_containers, list_versions, put_container
from rollway.emulator.arm.conda_files import as_json_text
from rollway.emulator.arm.resource_manager import (
    WORKSPACE_PATH,
    ArmRoute,
    Call,
    lags_of,
    workspace_route,
)
from rollway.emulator.arm.storage_uris import read_flavors, replicate, spell_as_azure
from rollway.emulator.arm.validation import check_field_types
from rollway.emulator.blob.blobs import ACCOUNT
from rollway.emulator.core import errors
from rollway.emulator.core.errors import Document
from rollway.emulator.core.store import Resource
from rollway.emulator.runtime.routes import problems_of
from rollway.emulator.state import Emulator

UPLOAD_SECONDS = 24 * 3600
MLFLOW = "mlflow_model"
FIELD_TYPES: dict[str, type] = {
    "properties": dict,
    "properties.tags": dict,
    "properties.properties": dict,
    "properties.modelUri": str,
    "properties.codeUri": str,
    "properties.dataUri": str,
    "properties.dataType": str,
    "properties.image": str,
    "properties.condaFile": str,
    "properties.flavors": dict,
    "properties.build": dict,
    "properties.build.contextUri": str,
    "properties.build.dockerfilePath": str,
    "properties.inferenceConfig": dict,
    "properties.isAnonymous": bool,
    "properties.isArchived": bool,
}


def _put(kind: AssetKind, call: Call) -> Response:
    id_ = kind.id(call, "/{name}/versions/{version}")
    check_field_types(call.body, FIELD_TYPES)
    given = call.body.get("properties") or {}
    if not any(given.get(name) for name in kind.needs):
        raise errors.invalid_asset(" or ".join(kind.needs), "is required.")
    if problems := problems_of(given.get("inferenceConfig") or {}):
        raise errors.invalid_asset("inferenceConfig", " ".join(problems))
    given = {name: value for name, value in given.items() if value is not None}
    for bag in ("tags", "properties"):
        given[bag] = {key: str(value) for key, value in (given.get(bag) or {}).items()}
    given = _as_answered(kind, given)
    before = call.emulator.store.get(id_)
    if before is None:
        version = new_version(call.emulator, kind, id_, given, call.system_data())
        now = call.emulator.clock.now()
        call.emulator.operations.views["lists"].remember(id_, None, now, lags_of(call)["lists"])
    else:
        version = _changed_version(call, kind, before, given)
    call.emulator.store.put(version)
    status = 201 if before is None else kind.status_again
    return JSONResponse(version.document, status, _creation_headers(call, kind, version) if status == 201 else {})


def _as_answered(kind: AssetKind, properties: Document) -> Document:
    """Return properties as Azure's answers show them, whatever the client sent."""
    changed: Document = {}
    if kind.segment == CODES.segment:
        changed["isAnonymous"] = False  # recorded, though clients send true
    if kind.segment == ENVIRONMENTS.segment and isinstance(properties.get("condaFile"), str):
        changed["condaFile"] = as_json_text(properties["condaFile"])
    if kind.segment == MODELS.segment and isinstance(properties.get("modelUri"), str):
        changed["modelUri"] = spell_as_azure(properties["modelUri"])
    return {**properties, **changed}


def new_version(emulator: Emulator, kind: AssetKind, id_: str, given: Document, system_data: Document) -> Resource:
    """Return a new version of an asset, which is not stored yet.

    The service copies an MLflow model to a folder of its own and reads its flavors, unless the client sends them
    (both recorded).
    """
    properties: Document = {**kind.defaults, **given, "provisioningState": "Succeeded"}
    private: Document = {}
    is_mlflow = kind.segment == MODELS.segment and str(properties["modelType"]).lower() == MLFLOW
    if is_mlflow and not properties["flavors"]:
        private["modelUri"] = properties["modelUri"]
        properties["flavors"] = read_flavors(emulator, properties["modelUri"])
        properties["modelUri"] = replicate(emulator, properties["modelUri"])
    document: Document = {
        "id": id_,
        "name": id_.rpartition("/")[2],
        "type": kind.type,
        "properties": properties,
        "systemData": system_data,
    }
    return Resource(kind.type, document, private)


def _changed_version(call: Call, kind: AssetKind, before: Resource, given: Document) -> Resource:
    """Return a version after a PUT. Raises the 409 if its content would change.

    An environment that stays the same keeps the time of its last change.
    """
    stored = _as_answered(kind, before.properties)
    if given.get("modelUri") == before.private.get("modelUri"):
        given = {name: value for name, value in given.items() if name != "modelUri"}  # where the client uploaded it
    properties = {**stored, **given, "provisioningState": "Succeeded"}
    for name in kind.content:
        if properties.get(name) != stored.get(name):
            raise errors.asset_is_immutable(kind.label, call.params["name"], call.params["version"], name)
    is_same = kind.status_again == 201 and properties == before.properties
    system_data = before.document["systemData"] if is_same else call.system_data(before.document)
    return replace(before, document={**before.document, "properties": properties, "systemData": system_data})


def _creation_headers(call: Call, kind: AssetKind, version: Resource) -> dict[str, str]:
    """Return the headers of a 201. An environment has the id of its image's build."""
    if kind.is_in_registry:
        return {}
    headers = {"Location": f"{call.emulator.url}{version.id}?api-version={call.query('api-version')}"}
    if kind.segment == ENVIRONMENTS.segment:
        content = repr([version.properties.get(name) for name in kind.content])
        headers["Build-ID"] = f"ch{int(sha256(content.encode()).hexdigest(), 16) % 1000}"
    return headers


def _get(kind: AssetKind, call: Call) -> Response:
    found = call.emulator.store.get(kind.id(call, "/{name}/versions/{version}"))
    if found is None:
        raise errors.asset_not_found(kind.label, call.params["name"], call.params["version"])
    return JSONResponse(found.document)


def _start_pending_upload(call: Call) -> Response:
    """Create a blob container for one asset, with a signature to write to it."""
    group = call.workspace.id.partition("/providers/")[0]
    return JSONResponse(
        {
            "blobReferenceForConsumption": blob_reference(call, call.workspace.properties["workspaceId"], group),
            "pendingUploadId": str(uuid4()),
            "pendingUploadType": call.body.get("pendingUploadType", "TemporaryBlobReference"),
        }
    )


def blob_reference(call: Call, owner: str, group: str) -> Document:
    """Return a reference to a new blob container, named after its owner, with a signature to write to it."""
    blobs = call.emulator.blobs
    container = f"{owner.lower()}-{uuid4().hex[:24]}"
    url = blobs.container_url(container)
    signature = blobs.shared_access_signature(container, "racwdl", UPLOAD_SECONDS)
    return {
        "blobUri": url,
        "storageAccountArmId": f"{group}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}",
        "credential": {"credentialType": "SAS", "sasUri": f"{url}?{signature}"},
    }


def asset_routes(kind: AssetKind, root: str, check: Callable[[Call], None] = lambda _: None) -> list[ArmRoute]:
    """Return the operations on a kind of asset below the path `root`.

    `check` runs before each operation and raises an error to refuse it.
    """
    names = f"{root}/{kind.segment}"

    def of_kind(handler: Callable[[AssetKind, Call], Response]) -> Callable[[Call], Response]:
        def handle(call: Call) -> Response:
            check(call)
            return handler(kind, call)

        return handle

    return [
        ArmRoute("GET", names, of_kind(list_containers)),
        ArmRoute("GET", f"{names}/{{name}}", of_kind(get_container)),
        ArmRoute("PUT", f"{names}/{{name}}", of_kind(put_container)),
        ArmRoute("GET", f"{names}/{{name}}/versions", of_kind(list_versions)),
        ArmRoute("GET", f"{names}/{{name}}/versions/{{version}}", of_kind(_get)),
        ArmRoute("PUT", f"{names}/{{name}}/versions/{{version}}", of_kind(_put)),
    ]


ROUTES = [
    *(route for kind in (MODELS, ENVIRONMENTS, CODES, DATA) for route in asset_routes(kind, WORKSPACE_PATH)),
    *(
        workspace_route(
            "POST", f"/{kind.segment}/{{name}}/versions/{{version}}/startPendingUpload", _start_pending_upload
        )
        for kind in (MODELS, ENVIRONMENTS, CODES)
    ),
]
