"""Lists of the versions of an asset, and the containers of all versions of a name."""

import logging

from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.asset_kinds import CODES, AssetKind
from rollway.emulator.arm.lists import has_entries
from rollway.emulator.arm.resource_manager import Call, paginate
from rollway.emulator.arm.validation import check_field_types
from rollway.emulator.core import errors
from rollway.emulator.core.errors import Document
from rollway.emulator.core.numbers import parse_whole
from rollway.emulator.core.store import Resource
from rollway.emulator.state import Emulator

log = logging.getLogger("rollway.emulator.arm.asset_lists")

# Their meaning is not documented: "Model description." and "Name of the feed."
ABSENT_FILTERS = ("description", "feed")
CONTAINER_DEFAULTS: Document = {"description": "", "tags": {}, "properties": {}, "isArchived": False}
CONTAINER_TYPES: dict[str, type] = {
    "properties": dict,
    "properties.description": str,
    "properties.tags": dict,
    "properties.properties": dict,
    "properties.isArchived": bool,
}


def list_versions(kind: AssetKind, call: Call) -> Response:
    """List the versions of one name, newest first unless `$orderBy` says `asc`.

    A name without versions is a 404, but an empty list in a registry: azure-ai-ml lists the versions before it
    registers the first one, and fails on a 404.
    """
    versions = call.emulator.store.find(kind.type, kind.id(call, "/{name}"))
    if not versions and kind is not CODES and not kind.is_in_registry:
        raise errors.asset_not_found(kind.label, call.params["name"])
    if (digest := call.query("hash")) is not None:  # the search covers all names of the workspace
        versions = [
            one
            for one in call.emulator.store.find(kind.type, kind.id(call))
            if one.properties.get("properties", {}).get("hash_sha256") == digest
        ]
    if not (call.query("$orderBy") or "").lower().endswith(" asc"):
        versions.reverse()
    selected = [one.document for one in select_versions(call, versions) if is_listed(call, one)]
    return paginate(call, selected[whole_number(call, "offset") + whole_number(call, "$skip") :])


def select_versions(call: Call, versions: list[Resource]) -> list[Resource]:
    """Return the versions that `version`, `stage`, `tags` and `properties` select. Raise the 501 for other filters."""
    for name in ABSENT_FILTERS:
        if call.query(name) is not None:
            log.warning("not emulated: lists of assets by %s", name)
            raise errors.not_emulated(call.request.method, f"{call.request.url.path}?{name}=")
    version, stage = (call.query("version") or "").lower(), (call.query("stage") or "").lower()
    tags, properties = call.query("tags") or call.query("$tags"), call.query("properties")
    return [
        one
        for one in versions
        if version in ("", one.name.lower())
        and stage in ("", str(one.properties.get("stage")).lower())
        and has_entries(one.properties.get("tags") or {}, tags)
        and has_entries(one.properties.get("properties") or {}, properties)
    ]


def whole_number(call: Call, name: str) -> int:
    """Return a query parameter that is 0 or more. 0 without it."""
    number = parse_whole(call.query(name) or "0")
    if number is None:
        raise errors.invalid_content(f"{name} must be a whole number, 0 or more")
    return number


def is_listed(call: Call, version: Resource) -> bool:
    """Return True if a list contains a version. `listViewType` selects active versions, archived ones, or both."""
    view = (call.query("listViewType") or "ActiveOnly").lower()
    return view == "all" or is_archived(call.emulator, version) == (view == "archivedonly")


def is_archived(emulator: Emulator, version: Resource) -> bool:
    """Return True if a version is archived, by itself or with its container (`az ml model archive`)."""
    container = emulator.store.get(version.id.rsplit("/", 2)[0])
    return any(one is not None and bool(one.properties.get("isArchived")) for one in (version, container))


def get_container(kind: AssetKind, call: Call) -> Response:
    versions = call.emulator.store.find(kind.type, kind.id(call, "/{name}"))
    if not versions:
        raise errors.asset_not_found(kind.label, call.params["name"])
    return JSONResponse(container_document(call.emulator, kind, versions))


def put_container(kind: AssetKind, call: Call) -> Response:
    """Change what all versions of a name have in common. Clients archive and restore them all with it.

    Recorded for environments (201 with `Location`) and components (200).
    """
    check_field_types(call.body, CONTAINER_TYPES)
    versions = call.emulator.store.find(kind.type, kind.id(call, "/{name}"))
    if not versions:
        log.warning("not emulated: a container without versions")
        raise errors.not_emulated("PUT", f"{call.request.url.path} for a name without versions")
    given = {name: value for name, value in (call.body.get("properties") or {}).items() if value is not None}
    document = container_document(call.emulator, kind, versions)
    kept = {name: given.get(name, CONTAINER_DEFAULTS[name]) for name in CONTAINER_DEFAULTS}
    call.emulator.store.put(Resource(kind.container_type, {**document, "properties": kept}))
    changed = container_document(call.emulator, kind, versions)
    url = f"{call.emulator.url}{changed['id']}?api-version={call.query('api-version')}"
    return JSONResponse(changed, kind.status_again, {"Location": url} if kind.status_again == 201 else {})


def list_containers(kind: AssetKind, call: Call) -> Response:
    """List the names in pages of `count`, in the order of their creation. New versions show late in `latestVersion`."""
    names: dict[str, list[Resource]] = {}
    for version in call.emulator.operations.views["lists"].find(kind.type, kind.id(call)):
        if not version.properties.get("isAnonymous") and is_listed(call, version):
            names.setdefault(version.id.rsplit("/", 2)[0].lower(), []).append(version)
    documents = [container_document(call.emulator, kind, versions) for versions in names.values()]
    return paginate(call, documents, size="count", continued_by="$skip")


def container_document(emulator: Emulator, kind: AssetKind, versions: list[Resource]) -> Document:
    """Return the document of an asset name. Clients that give no version register `nextVersion`."""
    first, latest = versions[0], versions[-1]
    numbers = [int(one.name) for one in versions if one.name.isdecimal()]
    id_ = first.id.rsplit("/", 2)[0]
    stored = emulator.store.get(id_)
    properties: Document = {
        **(CONTAINER_DEFAULTS if stored is None else stored.properties),
        "isArchived": all(is_archived(emulator, one) for one in versions),
        "latestVersion": latest.name,
        "nextVersion": str(max(numbers, default=0) + 1),
        "provisioningState": "Succeeded",
    }
    return {
        "id": id_,
        "name": id_.rpartition("/")[2],
        "type": kind.container_type,
        "properties": properties,
        "systemData": {**first.document["systemData"]},
    }
