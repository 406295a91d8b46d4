"""REST API of Azure Monitor's autoscale settings (autoscale REST reference, 2022-10-01).

`autoscaler` scales online deployments by these settings.
"""

from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.resource_manager import ArmRoute, Call, paginate
from rollway.emulator.arm.validation import check_field_types
from rollway.emulator.core import errors
from rollway.emulator.core.errors import Document
from rollway.emulator.core.store import Resource
from rollway.emulator.monitor.autoscale_checks import find_problems

SETTING_TYPE = "Microsoft.Insights/autoscaleSettings"
IN_SUBSCRIPTION = "/subscriptions/{subscription}/providers/Microsoft.Insights/autoscalesettings"
IN_GROUP = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Insights/autoscalesettings"
SETTING_PATH = f"{IN_GROUP}/{{name}}"
# Azure spells the provider in small letters in ids, and in its own way in types.
SETTING_ID = SETTING_PATH.replace("Microsoft.Insights", "microsoft.insights")
FIELD_TYPES: dict[str, type] = {
    "location": str,
    "tags": dict,
    "properties": dict,
    "properties.profiles": list,
    "properties.enabled": bool,
    "properties.targetResourceUri": str,
    "properties.notifications": list,
    "properties.predictiveAutoscalePolicy": dict,
}


def put_setting(call: Call) -> Response:
    check_field_types(call.body, FIELD_TYPES)
    if not call.body.get("location"):
        raise errors.location_required()
    before = call.emulator.store.get(SETTING_PATH.format(**call.params))
    properties = {key: value for key, value in (call.body.get("properties") or {}).items() if value is not None}
    return _store(call, before, str(call.body["location"]), call.body.get("tags") or {}, properties)


def patch_setting(call: Call) -> Response:
    """PATCH: replace the given tags and properties, each as a whole."""
    before = _require_setting(call)
    check_field_types(call.body, FIELD_TYPES)
    given = {key: value for key, value in (call.body.get("properties") or {}).items() if value is not None}
    tags = before.document["tags"] if call.body.get("tags") is None else call.body["tags"]
    return _store(call, before, before.document["location"], tags, {**before.properties, **given})


def _store(call: Call, before: Resource | None, location: str, tags: Document, properties: Document) -> Response:
    name = call.params["name"] if before is None else before.name
    problems = list(find_problems(properties))
    if problems:
        raise errors.invalid_autoscale_setting(problems)
    id_ = SETTING_ID.format(**call.params) if before is None else before.id
    target = str(properties["targetResourceUri"])
    for other in call.emulator.store.find(SETTING_TYPE):
        if other.id.lower() != id_.lower() and other.properties["targetResourceUri"].lower() == target.lower():
            raise errors.target_has_autoscale_setting(target, other.name)
    if policy := properties.get("predictiveAutoscalePolicy"):
        properties = {**properties, "predictiveAutoscalePolicy": {"scaleLookAheadTime": None, **policy}}
    document: Document = {
        "id": id_,
        "name": name,
        "type": SETTING_TYPE,
        "location": location,
        "tags": tags,
        "properties": {"name": name, "enabled": False, "notifications": [], **properties},
        "systemData": call.system_data(None if before is None else before.document),
    }
    call.emulator.store.put(Resource(SETTING_TYPE, document))
    return JSONResponse(document, 201 if before is None else 200)


def _require_setting(call: Call) -> Resource:
    """Return the setting in the path. Raises the 404."""
    found = call.emulator.store.get(SETTING_PATH.format(**call.params))
    if found is None:
        raise errors.autoscale_setting_not_found(call.params["group"], call.params["name"])
    return found


def get_setting(call: Call) -> Response:
    return JSONResponse(_require_setting(call).document)


def list_settings(call: Call) -> Response:
    found = call.emulator.store.find(SETTING_TYPE)
    if group := call.params.get("group"):
        found = [one for one in found if f"/resourcegroups/{group.lower()}/" in one.id.lower()]
    return paginate(call, [one.document for one in found])


def delete_setting(call: Call) -> Response:
    id_ = SETTING_PATH.format(**call.params)
    if call.emulator.store.get(id_) is None:
        return Response(status_code=204)
    call.emulator.store.delete(id_)
    return Response(status_code=200)


ROUTES = [
    ArmRoute("GET", IN_SUBSCRIPTION, list_settings),
    ArmRoute("GET", IN_GROUP, list_settings),
    ArmRoute("GET", SETTING_PATH, get_setting),
    ArmRoute("PUT", SETTING_PATH, put_setting),
    ArmRoute("PATCH", SETTING_PATH, patch_setting),
    ArmRoute("DELETE", SETTING_PATH, delete_setting),
]
