"""Azure's exceptions as ours: the class, the reason in plain words, and the next action."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from azure.ai.ml.exceptions import ErrorCategory, ErrorTarget, MlException, ValidationException
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.mgmt.core.exceptions import ARMErrorFormat

from rollway.azure.errors.translate import azure_errors, operation_failed, translate
from rollway.azure.threads import in_thread
from rollway.errors import (
    AccessDenied,
    AzureUnavailable,
    Busy,
    Cause,
    CredentialsRejected,
    NotFound,
    ProvisioningFailed,
    RequestRefused,
    RollwayError,
)

NO_CREDENTIALS = """DefaultAzureCredential failed to retrieve a token from the included credentials.
Attempted credentials:
\tEnvironmentCredential: EnvironmentCredential authentication unavailable. Environment variables are not fully configured.
Visit https://aka.ms/azsdk/python/identity/environmentcredential/troubleshoot to troubleshoot this issue.
\tManagedIdentityCredential: ManagedIdentityCredential authentication unavailable.
\tAzureCliCredential: Azure CLI not found on path
\tAzurePowerShellCredential: PowerShell is not installed
To mitigate this issue, please refer to the troubleshooting guidelines here at https://aka.ms/azsdk/troubleshoot."""  # noqa: E501


class Answer:
    """An HTTP answer as azure.core reads it."""

    def __init__(self, status: int, body: object, headers: Mapping[str, str]) -> None:
        self.status_code, self.reason, self.headers = status, "reason", dict(headers)
        self._text = body if isinstance(body, str) else json.dumps(body)

    def text(self, encoding: str | None = None) -> str:  # noqa: ARG002
        """The body."""
        return self._text

    def body(self) -> bytes:
        """The body."""
        return self._text.encode()


def http_error(status: int, body: object, **headers: str) -> HttpResponseError:
    """The exception that the SDK raises for an answer of the service."""
    kinds: dict[int, type[HttpResponseError]] = {
        401: ClientAuthenticationError,
        404: ResourceNotFoundError,
        409: ResourceExistsError,
    }
    kind = kinds.get(status, HttpResponseError)
    return kind(response=Answer(status, body, headers), error_format=ARMErrorFormat)  # type: ignore[arg-type]


def arm(code: str | None, message: str, *details: Mapping[str, Any]) -> dict[str, Any]:
    """An error body of Azure Resource Manager."""
    return {"error": {"code": code, "message": message, "details": list(details)}}


def translated(error: AzureError, hint: str | None = None) -> RollwayError:
    return translate(error, "cannot do it", "endpoint diabetes", hint)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "BadRequest", RequestRefused),
        (401, "InvalidAuthenticationToken", CredentialsRejected),
        (401, "ExpiredAuthenticationToken", AzureUnavailable),
        (403, "AuthorizationFailed", AccessDenied),
        (404, "ResourceNotFound", NotFound),
        (408, "RequestTimeout", AzureUnavailable),
        (409, "Conflict", Busy),
        (409, "EndpointAlreadyExists", RequestRefused),
        (409, "ScopeLocked", RequestRefused),
        (409, "MissingSubscriptionRegistration", RequestRefused),
        (422, "Unprocessable", RequestRefused),
        (429, "TooManyRequests", AzureUnavailable),
        (429, "RetryableErrorDueToAnotherOperation", Busy),
        (409, "OperationCanceled", AzureUnavailable),
        (501, "NotImplemented", RequestRefused),
        (500, "InternalServerError", AzureUnavailable),
        (503, "ServiceUnavailable", AzureUnavailable),
    ],
)
def test_the_status_decides_the_class_and_the_reason_is_azures_own(
    status: int, code: str, kind: type[RollwayError]
) -> None:
    error = translated(http_error(status, arm(code, "The reason.")))

    assert type(error) is kind
    assert error.what == "cannot do it"
    assert "The reason." in str(error)
    assert code in str(error)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 429, 500])
def test_where_and_azures_request_id_are_kept(status: int) -> None:
    error = translated(http_error(status, arm("X", "y"), **{"x-ms-request-id": "abc-123"}))

    assert (error.where, error.request_id) == ("endpoint diabetes", "abc-123")


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (403, "AuthorizationFailed", "grant the identity the role 'AzureML Data Scientist'"),
        (403, "RequestDisallowedByPolicy", "a role alone does not help"),
        (404, "X", "check the name"),
        (409, "X", "wait until it has ended and run it again"),
        (429, "X", "run it again in a few minutes"),
        (503, "X", "run it again in a few minutes"),
    ],
)
def test_every_error_has_a_hint(status: int, code: str, hint: str) -> None:
    assert hint in str(translated(http_error(status, arm(code, "y"))).hint)


@pytest.mark.parametrize("status", [400, 404])
def test_the_callers_hint_beats_the_one_for_the_status(status: int) -> None:
    assert translated(http_error(status, arm("X", "y")), hint="look there").hint == "look there"


def test_the_catalogues_hint_beats_the_callers() -> None:
    error = translated(http_error(400, arm("EndpointAlreadyExists", "It exists.")), hint="look there")

    assert "choose another name in endpoint.yml" in str(error.hint)


def test_a_refused_request_is_not_retryable_even_if_it_may_work_later() -> None:
    error = translated(http_error(400, arm("OutOfQuota", "The region has no capacity.")))

    assert (type(error), error.cause, error.retryable) == (RequestRefused, Cause.TRANSIENT, False)


def test_code_cause_and_azures_whole_error_are_kept() -> None:
    detail = {"code": "OutOfQuota", "message": "no cores", "details": [{"code": "Cores", "message": "20 of 20"}]}
    body = arm("BadRequest", "The request is invalid.", detail)
    body["error"]["additionalInfo"] = [{"type": "Correlation", "info": {"value": {"operation": "0af7"}}}]

    error = translated(http_error(400, body))

    assert (error.cause, error.code, error.request_id) == (Cause.QUOTA, "OutOfQuota", "0af7")
    assert error.error_tree == (
        "BadRequest: The request is invalid.\n"
        "  OutOfQuota: no cores\n"
        "    Cores: 20 of 20\n"
        "  Correlation: operation 0af7"
    )


def test_the_reason_of_a_failed_operation_decides_cause_code_and_next_action() -> None:
    reason = {"code": None, "message": "OutOfQuota: Container terminated due to insufficient memory."}

    error = operation_failed(ProvisioningFailed, "x", "y", state="Failed", error=reason)

    assert type(error) is ProvisioningFailed
    assert (error.cause, error.code) == (Cause.QUOTA, "OutOfQuota")
    assert error.why == "OutOfQuota: Container terminated due to insufficient memory."
    assert "needs more memory" in str(error.hint)


def test_a_canceled_operation_is_transient_even_without_a_reason() -> None:
    error = operation_failed(ProvisioningFailed, "x", "y", state="Canceled", error=None)

    assert (error.cause, error.code) == (Cause.TRANSIENT, "OperationCanceled")
    assert "wait a minute" in str(error.hint)


def test_a_failure_without_a_reason_points_to_the_log() -> None:
    error = operation_failed(ProvisioningFailed, "x", "y", state="Failed", error=None)

    assert (error.cause, error.code) == (Cause.PERMANENT, None)
    assert error.why == "Azure gives no reason; the state is Failed"
    assert "read the log, fix what" in str(error.hint)


def test_validation_details_that_are_json_in_a_string_are_unfolded() -> None:
    inner = json.dumps(
        {
            "errors": {"VmSize": ["Not enough quota available for x."], "Name": ["Too long.", "Too odd."]},
            "title": "One or more validation errors occurred.",
        }
    )
    detail = {"code": "InferencingClientCallFailed", "message": inner}

    error = translated(http_error(400, arm("BadRequest", "The request is invalid.", detail)))

    assert error.why == "BadRequest: VmSize: Not enough quota available for x.; Name: Too long.; Name: Too odd."


def test_a_failed_operation_with_the_code_in_front_of_its_message_is_understood() -> None:
    error = translated(http_error(200, arm(None, "ResourceNotReady: User container has crashed.")))

    assert type(error) is RequestRefused
    assert error.why == "ResourceNotReady: User container has crashed."


def test_an_answer_that_is_no_arm_error_is_cut_to_its_first_line() -> None:
    error = translated(http_error(502, "<html>\n<body>Bad Gateway</body></html>"))

    assert type(error) is AzureUnavailable
    assert error.why == "Operation returned an invalid status 'reason'"


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("AADSTS7000215", "check AZURE_CLIENT_SECRET (its value, not its id)"),
        ("AADSTS7000222", "the client secret has expired"),
        ("AADSTS700016", "check AZURE_CLIENT_ID and AZURE_TENANT_ID"),
        ("AADSTS90002", "check AZURE_TENANT_ID"),
        ("Unable to get authority configuration for x", "check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST"),
    ],
)
def test_entras_error_is_found_in_the_long_text_of_the_credential(code: str, hint: str) -> None:
    text = (
        "DefaultAzureCredential failed to retrieve a token from the included credentials.\n"
        "Attempted credentials:\n"
        f"\tEnvironmentCredential: Authentication failed: {code}: That is wrong. Trace ID: 1 Correlation ID: 2\n"
        "To mitigate this issue, please refer to the troubleshooting guidelines here at https://aka.ms/x."
    )

    error = translated(ClientAuthenticationError(message=text))

    assert type(error) is CredentialsRejected
    assert str(error.why).startswith(f"{code}: That is wrong.")
    assert hint in str(error.hint)
    assert "To mitigate" not in str(error)


def test_missing_credentials_say_which_kinds_were_tried_and_what_to_set() -> None:
    error = translated(ClientAuthenticationError(message=NO_CREDENTIALS))

    assert type(error) is CredentialsRejected
    assert str(error.why).startswith("EnvironmentCredential: EnvironmentCredential authentication unavailable.")
    assert "Visit https" not in str(error)
    assert "AZURE_CLIENT_SECRET" in str(error.hint)
    assert "az login" in str(error.hint)


@pytest.mark.parametrize(
    "reason", ["Failed to establish a new connection: [Errno 111]", "Failed to resolve 'login.microsoftonline.com'"]
)
def test_a_sign_in_service_that_cannot_be_reached_is_not_a_wrong_secret(reason: str) -> None:
    text = (
        "DefaultAzureCredential failed to retrieve a token from the included credentials.\n"
        f"Attempted credentials:\n\tEnvironmentCredential: Authentication failed: HTTPSConnection(...): {reason}"
    )

    error = translated(ClientAuthenticationError(message=text))

    assert type(error) is AzureUnavailable
    assert reason in str(error.why)
    assert "check the network" in str(error.hint)


@pytest.mark.parametrize(
    "reason",
    [
        "HTTP Error: 503",
        "HTTP Error: 429",
        "AADSTS90033: A transient error has occurred.",
        "AADSTS50196: The server terminated an operation because it met a loop.",
        "temporarily_unavailable",
        "Expecting value: line 1 column 1 (char 0)",
    ],
)
def test_a_sign_in_service_that_is_down_or_throttles_is_not_a_wrong_secret(reason: str) -> None:
    error = translated(ClientAuthenticationError(message=f"Authentication failed: {reason}"))

    assert (type(error), error.cause) == (AzureUnavailable, Cause.TRANSIENT)
    assert reason in str(error.why)
    assert "Microsoft Entra is busy or has a problem" in str(error.hint)


def test_a_server_error_of_a_credential_is_an_unavailable_azure() -> None:
    answer = Answer(503, "<html>no</html>", {})

    error = translated(ClientAuthenticationError(message="no token", response=answer))  # type: ignore[arg-type]

    assert type(error) is AzureUnavailable


def test_a_secret_in_the_text_of_the_sign_in_is_masked() -> None:
    error = translated(ClientAuthenticationError(message="AADSTS7000215: wrong client_secret=hunter2222"))

    assert "hunter2222" not in str(error)


@pytest.mark.parametrize("kind", [ServiceRequestError, ServiceResponseError])
def test_no_connection_is_an_unavailable_azure(kind: type[AzureError]) -> None:
    error = translated(kind("Connection refused\nmore"))

    assert type(error) is AzureUnavailable
    assert (error.why, error.hint) == ("no connection: Connection refused", "check the network and run it again")


def test_metadata_of_the_cloud_that_cannot_be_read_is_an_unavailable_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARM_CLOUD_METADATA_URL", "https://localhost:1/metadata/endpoints")
    text = 'Unknown cloud environment supplied: "LocalCloud".'

    error = translate(MlException(message=text, no_personal_data_message=text), "cannot connect", "workspace w")

    assert isinstance(error, AzureUnavailable)
    assert error.where == "ARM_CLOUD_METADATA_URL=https://localhost:1/metadata/endpoints"
    assert error.why == "the metadata of the cloud that the environment names cannot be read"


def test_a_lost_connection_that_the_sdk_wraps_is_an_unavailable_azure() -> None:
    try:
        try:
            raise ServiceResponseError("Connection aborted.")
        except ServiceResponseError as error:
            raise MlException(message="Error with code: …", no_personal_data_message="") from error
    except MlException as error:
        translated = translate(error, "cannot create it", "endpoint x")

    assert isinstance(translated, AzureUnavailable)
    assert translated.why == "no connection: Connection aborted."


def test_an_upload_that_finds_the_file_of_its_first_try_is_retryable() -> None:
    refused = ResourceExistsError("The specified blob already exists.")
    refused.status_code = 409

    translated = translate(refused, "cannot register the model 'churn'", "model churn:next")

    assert isinstance(translated, AzureUnavailable)
    assert (translated.cause, translated.retryable) == (Cause.TRANSIENT, True)
    assert translated.why == "The specified blob already exists."


def test_the_sdks_own_validation_is_a_refused_request() -> None:
    raised = ValidationException(  # the SDK's enums are classes of plain strings
        message="No value given.",
        no_personal_data_message="",
        target=ErrorTarget.MODEL,  # type: ignore[arg-type]
        error_category=ErrorCategory.USER_ERROR,  # type: ignore[arg-type]
    )

    error = translated(raised, hint="give one")

    assert type(error) is RequestRefused
    assert (error.why, error.hint) == ("No value given.", "give one")


def test_azure_errors_raises_our_error_from_azures() -> None:
    with pytest.raises(NotFound, match="cannot do it") as caught, azure_errors("cannot do it", where="x"):
        raise http_error(404, arm("ResourceNotFound", "Gone."))

    assert isinstance(caught.value.__cause__, ResourceNotFoundError)


def test_azure_errors_passes_on_other_exceptions() -> None:
    with pytest.raises(KeyError), azure_errors("cannot do it", where="x"):
        raise KeyError("mine")


def test_a_blocking_call_gets_its_arguments_in_a_thread() -> None:
    assert asyncio.run(in_thread(divmod, 7, 2)) == (3, 1)
