"""Errors of Azure Resource Manager and Azure ML, in Azure's own shape: one function per error.

Every error that the emulator returns on purpose is an EmulatedError. Any other exception is a bug, and is returned as
Azure's InternalServerError. The rooms `login`, `blob` and `scoring` define their own subclasses:

EmulatedError
├── ArmError                {"error": {"code", "message", "details", "additionalInfo"}}
├── LoginError              {"error", "error_description", "error_codes", ...} of the token endpoint
├── ManagedIdentityError    {"error", "error_description"} of IMDS, {"statusCode", "message"} of App Service
├── StorageError            <Error><Code/><Message/></Error> plus x-ms-error-code
└── GatewayError            text and `ms-azureml-model-*` headers of the scoring gateway
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from rollway.emulator.core.clock import format_iso_offset

Document = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """Where and when Azure ML raised an error.

    Args:
        region: Region of the workspace.
        seconds: Time on the emulator's clock, in seconds since the epoch.
    """

    region: str
    seconds: float


class EmulatedError(Exception):
    """An error response of Azure."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message

    def response(self) -> Response:
        """Return the HTTP response."""
        raise NotImplementedError


class ArmError(EmulatedError):
    """An error of Azure Resource Manager, or of Azure ML behind it.

    Errors of Azure ML (`from_service`) have `details` and `additionalInfo`, as recorded.

    Args:
        inner_code: Code of the `InnerError` in `additionalInfo`, which only some errors have.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Sequence[Document] = (),
        headers: Mapping[str, str] | None = None,
        from_service: bool = True,
        inner_code: str = "",
    ) -> None:
        super().__init__(status, code, message)
        self.details, self.from_service, self.inner_code = details, from_service, inner_code
        self.headers: dict[str, str] = dict(headers or {})
        self.origin: Origin | None = None  # set by the code that responds, which knows the emulator

    def response(self) -> Response:
        error: Document = {"code": self.code, "message": self.message}
        if not self.from_service:
            return JSONResponse({"error": error}, self.status, {"x-ms-failure-cause": "gateway", **self.headers})
        error |= {"details": list(self.details), "additionalInfo": additional_info(self.origin)}
        if self.inner_code:
            inner = {"code": self.inner_code, "innerError": None}
            error["additionalInfo"].append({"type": "InnerError", "info": {"value": inner}})
        return JSONResponse({"error": error}, self.status, {"x-ms-response-type": "error", **self.headers})


def additional_info(origin: Origin | None) -> list[Document]:
    """Return the `additionalInfo` that Azure ML adds to each of its errors."""
    values: Document = {
        "ComponentName": "managementfrontend",
        "Correlation": {"operation": uuid4().hex, "request": uuid4().hex[:16]},
    }
    if origin is not None:
        at = format_iso_offset(origin.seconds)
        values |= {"Environment": origin.region, "Location": origin.region, "Time": at}
    return [{"type": name, "info": {"value": value}} for name, value in values.items()]


def _detail(code: str, message: str) -> Document:
    return {"code": code, "message": message, "details": [], "additionalInfo": []}


# Azure Resource Manager itself


def missing_token() -> ArmError:
    message = "Authentication failed. The 'Authorization' header is missing."
    return ArmError(401, "AuthenticationFailed", message, headers={"WWW-Authenticate": "Bearer"}, from_service=False)


def invalid_token(reason: str) -> ArmError:
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    message = f"The access token is invalid: {reason}."
    return ArmError(401, "InvalidAuthenticationToken", message, headers=headers, from_service=False)


def expired_token(expired_at: str, now: str) -> ArmError:
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    message = f"The access token expiry UTC time '{expired_at}' is earlier than current UTC time '{now}'."
    return ArmError(401, "ExpiredAuthenticationToken", message, headers=headers, from_service=False)


def wrong_audience(found: str, allowed: Sequence[str]) -> ArmError:
    message = (
        f"The access token has been obtained for wrong audience or resource '{found}'. "
        f"It should exactly match with one of the allowed audiences {', '.join(repr(one) for one in allowed)}."
    )
    return ArmError(401, "InvalidAuthenticationTokenAudience", message, from_service=False)


def authorization_failed(client_id: str, action: str, scope: str) -> ArmError:
    message = (
        f"The client '{client_id}' with object id '{client_id}' does not have authorization to perform action "
        f"'{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh "
        "your credentials."
    )
    return ArmError(403, "AuthorizationFailed", message, from_service=False)


def subscription_not_found(subscription: str) -> ArmError:
    message = f"The subscription '{subscription}' could not be found."
    return ArmError(404, "SubscriptionNotFound", message, from_service=False)


def resource_group_not_found(group: str) -> ArmError:
    message = f"Resource group '{group}' could not be found."
    return ArmError(404, "ResourceGroupNotFound", message, from_service=False)


def workspace_not_found(group: str, workspace: str) -> ArmError:
    message = (
        f"The Resource 'Microsoft.MachineLearningServices/workspaces/{workspace}' under resource group '{group}' "
        "was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
    )
    return ArmError(404, "ResourceNotFound", message, from_service=False)


def missing_api_version() -> ArmError:
    message = "The api-version query parameter (?api-version=) is required for all requests."
    return ArmError(400, "MissingApiVersionParameter", message, from_service=False)


def invalid_api_version(found: str) -> ArmError:
    message = f"The api-version '{found}' is invalid. The versions have the form '2023-04-01' or '2023-04-01-preview'."
    return ArmError(400, "InvalidApiVersionParameter", message, from_service=False)


def invalid_content(reason: str) -> ArmError:
    message = f"The request content was invalid and could not be deserialized: '{reason}'."
    return ArmError(400, "InvalidRequestContent", message, from_service=False)


def location_required() -> ArmError:
    return ArmError(
        400, "LocationRequired", "The location property is required for this definition.", from_service=False
    )


def throttled(kind: str, retry_after_seconds: int, remaining: Mapping[str, str]) -> ArmError:
    message = (
        f"Number of {kind} for subscription exceeded the limit of the principal. Please try again after "
        f"'{retry_after_seconds}' seconds after additional tokens are available."
    )
    headers = {**remaining, "Retry-After": str(retry_after_seconds)}
    return ArmError(429, "SubscriptionRequestsThrottled", message, headers=headers, from_service=False)


def location_is_immutable(resource_id: str, location: str, wanted: str) -> ArmError:
    name, group = resource_id.rpartition("/")[2], resource_id.split("/")[4]
    message = (
        f"The resource '{name}' already exists in location '{location}' in resource group '{group}'. A resource with "
        f"the same name cannot be created in location '{wanted}'. Please select a new resource name."
    )
    return ArmError(409, "InvalidResourceLocation", message, from_service=False)


def not_emulated(method: str, path: str) -> ArmError:
    """Return the error for an operation that the emulator does not have. Azure has no such error."""
    message = (
        f"The local Azure ML does not emulate {method} {path}. See docs/parity.md for the operations that it does."
    )
    return ArmError(501, "NotEmulated", message, from_service=False)


def invalid_resource_name(name: str) -> ArmError:
    message = f"The resource name {name[:80]!r} is not valid."
    return ArmError(400, "InvalidResourceName", message, from_service=False)


def too_large(limit_bytes: int) -> ArmError:
    message = f"The request content is larger than the {limit_bytes} bytes allowed."
    return ArmError(413, "RequestContentTooLarge", message, from_service=False)


# Limits of tags. Codes and texts are inferred: Azure PowerShell's Az.Migrate has them for the same limits.


def too_many_tags(count: int, limit: int) -> ArmError:
    message = f"Too many tags specified. Requested tag count - '{count}'. Maximum number of tags allowed - '{limit}'."
    return ArmError(400, "InvalidTags", message, from_service=False)


def tag_name_too_long(name: str, limit: int) -> ArmError:
    return ArmError(400, "InvalidTagNameLength", _too_long("name", name, limit), from_service=False)


def tag_value_too_long(value: str, limit: int) -> ArmError:
    return ArmError(400, "InvalidTagValueLength", _too_long("value", value, limit), from_service=False)


def _too_long(what: str, text: str, limit: int) -> str:
    return (
        f"Tag {what} too large. Following tag {what} '{text}' exceeded the maximum length. Maximum allowed length for "
        f"tag {what} - '{limit}' characters."
    )


# Azure ML


def internal_error() -> ArmError:
    detail = _detail("InternalServerError", "See the emulator's own log.")
    return ArmError(500, "ServiceError", "InternalServerError", details=[detail])


def not_found(kind: str, name: str) -> ArmError:
    return ArmError(404, "UserError", f"{kind} {name} not found.", details=[_detail("NotFound", f"{kind} {name}")])


def asset_not_found(kind: str, name: str, version: str = "") -> ArmError:
    """Return the 404 for an asset without registered versions, or without `version`. The texts are recorded.

    Args:
        kind: `Model`, `Environment`, `Code` or `Data`.
    """
    if kind == "Environment":
        message = f"No environment exists for name: {name}, version: {version}, label: "
        return ArmError(404, "UserError", message, inner_code="NotFoundError")
    full_name = f"{name}:{version}" if version else name
    details = [_detail(f"{kind}NotFound", f"{kind} container with name: {full_name} not found.")]
    return ArmError(404, "UserError", "The specified resource was not found.", details=details)


def asset_is_immutable(kind: str, name: str, version: str, field: str) -> ArmError:
    message = (
        f"{kind} {name}:{version} already exists with another {field}. The content of a registered version cannot "
        "be changed: register a new version."
    )
    return ArmError(409, "Conflict", message, details=[_detail("VersionConflict", message)])


def invalid_request(problems: Mapping[str, Sequence[str]]) -> ArmError:
    """Return the validation error of endpoints and online deployments. The problems by field are JSON in a string."""
    inner = {"errors": problems, "title": "One or more validation errors occurred.", "status": 400}
    detail = _detail("InferencingClientCallFailed", json.dumps(inner))
    return ArmError(400, "BadRequest", "The request is invalid.", details=[detail])


def invalid_identity_id(id_: str) -> ArmError:
    message = (
        f"Property id '{id_}' at path 'identity.userAssignedIdentities' is invalid. Expect fully qualified resource Id "
        "that start with '/subscriptions/{subscriptionId}' or '/providers/{resourceProviderNamespace}/'."
    )
    return ArmError(400, "LinkedInvalidPropertyId", message, from_service=False)


def invalid_asset(field: str, problem: str) -> ArmError:
    return ArmError(400, "UserError", f"The request is invalid. {field}: {problem}", details=[_detail(field, problem)])


def invalid_autoscale_setting(problems: Sequence[str]) -> ArmError:
    return ArmError(400, "BadRequest", f"The autoscale setting is invalid: {' '.join(problems)}", from_service=False)


def target_has_autoscale_setting(target: str, other: str) -> ArmError:
    message = f"The target resource {target} has an autoscale setting already: {other}."
    return ArmError(409, "Conflict", message, from_service=False)


def autoscale_setting_not_found(group: str, name: str) -> ArmError:
    message = f"The autoscale setting {name} was not found in resource group {group}."
    return ArmError(404, "ResourceNotFound", message, from_service=False)


def workspace_in_legacy_mode(name: str) -> ArmError:
    message = (
        f"The workspace {name} has v1_legacy_mode == true, in which online endpoints cannot be created. Please disable "
        "it, see https://aka.ms/amlv2network."
    )
    return ArmError(400, "BadRequest", message, details=[_detail("BadArgument", message)])


def managed_network_not_ready(name: str) -> ArmError:
    message = (
        f"WorkspaceManagedNetworkNotReady: the managed virtual network of workspace {name} is not provisioned yet. "
        "Provision it first, see https://aka.ms/oe-tsg#error-workspacemanagednetworknotready"
    )
    return ArmError(400, "BadRequest", message, details=[_detail("WorkspaceManagedNetworkNotReady", message)])


def endpoint_name_taken(name: str, region: str) -> ArmError:
    message = (
        f"An endpoint with name {name} already exists in region {region}. Endpoint names are unique per region: "
        "please choose another name."
    )
    return ArmError(400, "UserError", message, details=[_detail("BadArgument", message)])


def endpoint_missing_for_deployment() -> ArmError:
    return ArmError(
        404,
        "NotFound",
        "Not Found",
        details=[_detail("InferencingClientCallFailed", json.dumps({"title": "Not Found"}))],
    )


def endpoint_busy(method: str, name: str) -> ArmError:
    message = (
        f"Already running method {method} on endpoint {name}. Wait until the running operation has finished and "
        "send the request again."
    )
    return ArmError(409, "Conflict", message, details=[_detail("InferencingClientCallFailed", message)])


def endpoint_not_provisioned(name: str, state: str) -> ArmError:
    """Return the error for a new online deployment while an operation changes the endpoint itself.

    The text is that of Azure/azure-sdk-for-net#36961. Status and code are our choice.
    """
    message = f"Cannot create a deployment in endpoint {name} because it is in {state} provisioning state."
    return ArmError(409, "Conflict", message, details=[_detail("InferencingClientCallFailed", message)])


def endpoint_not_ready(name: str, state: str) -> ArmError:
    text = (
        f"The endpoint {name} is in state {state}: it has not been created successfully or is being deleted. "
        "Please recreate the endpoint."
    )
    return invalid_request({"Endpoint": [text]})


def endpoint_creation_failed(name: str) -> ArmError:
    text = f"The endpoint {name} failed during initial provisioning and is unrecoverable. Delete and re-create it."
    return invalid_request({"Endpoint": [text]})


def deployment_creation_failed(name: str) -> ArmError:
    text = f"Deployment {name} failed during initial provisioning and is unrecoverable. Delete and re-create it."
    return invalid_request({"Deployment": [text]})


def deployment_has_traffic(name: str, weight: int, kind: str) -> ArmError:
    text = f"Deployment {name} receives {weight}% of the endpoint's {kind}. Set it to 0 before deleting."
    return invalid_request({"Deployment": [text]})


def failed_operation(code: str, text: str, origin: Origin, details: Sequence[str] = ()) -> Document:
    """Return the `error` of a failed operation. Its `code` is null; the message starts with the code."""
    return {
        "code": None,
        "message": f"{code}: {text} For help, see https://aka.ms/oe-tsg#error-{code.lower()}",
        "target": None,
        "details": [_detail(code, detail) for detail in details],
        "additionalInfo": additional_info(origin),
    }
