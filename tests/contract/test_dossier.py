"""Errors that the service really answers, through Rollway's adapter, into the dossier of a failed rollout."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, ManagedOnlineEndpoint, Model

from rollway.azure.errors.translate import azure_errors
from rollway.azure.online_deployments import wait_until_ready
from rollway.azure.session import Session
from rollway.errors import (
    AccessDenied,
    AzureUnavailable,
    Busy,
    Cause,
    CredentialsRejected,
    ProvisioningFailed,
    RequestRefused,
    RollwayError,
)
from rollway.reports import dossier
from rollway.reports.dossier import Dossier
from tests.contract.conftest import TAKEN_NAME, create_endpoint, describe
from tests.support.builders import rollout_spec
from tests.support.emulator_process import EmulatorProcess


@pytest.fixture
def faults(emulator: EmulatorProcess) -> Iterator[Callable[..., None]]:
    """Declares faults for as long as a test lasts."""
    yield emulator.fail
    emulator.delete_faults()


@pytest.fixture(scope="module")
def endpoint(client: MLClient) -> str:
    """An endpoint that only collects online deployments that fail."""
    create_endpoint(client, "t-dossier")
    return "t-dossier"


def dossier_of(error: RollwayError, step: str) -> Dossier:
    """As the abort step makes it."""
    return dossier.build(error, rollout_spec(), task=step, traffic_before={"main-0": 100}, traffic_now={"main-0": 100})


def refused(call: Callable[[], Any]) -> RollwayError:
    """Return the error that the adapter raises for a refused call."""
    with pytest.raises(RollwayError) as caught, azure_errors("it cannot be done", where="endpoint x"):
        call()
    return caught.value


OPERATIONS = [
    ("ImageBuildFailure", "Could not solve the conda environment.", Cause.PERMANENT, "conda file or Dockerfile"),
    ("OutOfQuota", "Not enough cores.", Cause.QUOTA, "request more cores"),
    ("OutOfQuota", "Container terminated due to insufficient memory.", Cause.QUOTA, "needs more memory"),
    ("OutOfQuota", "The region has no capacity for these machines.", Cause.TRANSIENT, "in an hour or later"),
    ("BadArgument", "Startup task failed due to authorization error.", Cause.PERMANENT, "'AcrPull'"),
    ("ResourceNotReady", "Readiness probe failed.", Cause.PERMANENT, "readiness_probe"),
    ("ResourceNotFound", "The container registry cannot be reached.", Cause.PERMANENT, "its registry exist"),
    ("WorkspaceManagedNetworkNotReady", "Not provisioned.", Cause.PERMANENT, "az ml workspace provision-network"),
    ("OperationCanceled", "Displaced by another operation.", Cause.TRANSIENT, "wait a minute"),
    ("SecretsInjectionError", "The identity cannot read it.", Cause.PERMANENT, "grant the endpoint's identity access"),
    ("InternalServerError", "Something is wrong.", Cause.TRANSIENT, "open a support request"),
    ("EndpointAlreadyExists", "It exists.", Cause.PERMANENT, "choose another name in endpoint.yml"),
    ("UserScriptInitFailed", "init() raised.", Cause.PERMANENT, "init() raised"),
    ("PodUnschedulable", "No node fits.", Cause.QUOTA, "add nodes"),
]


@pytest.mark.parametrize(("code", "message", "cause", "action"), OPERATIONS)
def test_an_operation_that_fails_is_named_with_its_class_and_next_action(
    session: Session,
    faults: Callable[..., None],
    model: Model,
    environment: Environment,
    endpoint: str,
    code: str,
    message: str,
    cause: Cause,
    action: str,
) -> None:
    name = f"d{OPERATIONS.index((code, message, cause, action))}-x"
    faults(method="PUT", path=f"/deployments/{name}$", operation="failed", code=code, message=message)
    session.ml.online_deployments.begin_create_or_update(describe(endpoint, model, environment, name))

    with pytest.raises(ProvisioningFailed) as caught:
        asyncio.run(wait_until_ready(session, endpoint, name, timeout_seconds=180))

    found = dossier_of(caught.value, "wait until ready")
    artifact = dossier.markdown(found)
    assert (found.code, found.cause) == (code, cause)
    assert action in found.next_action
    assert f"{code}: {message}" in str(found.error_tree)
    assert found.request_id
    for part in (f"({cause.value}, {code})", action, found.request_id, "log of the storage initializer container"):
        assert part in artifact
    assert action in dossier.text(found)


def test_a_script_that_raises_is_shown_with_its_own_traceback(
    session: Session, model: Model, environment: Environment, endpoint: str
) -> None:
    broken = describe(endpoint, model, environment, "broken", script="broken_init")
    session.ml.online_deployments.begin_create_or_update(broken)

    with pytest.raises(ProvisioningFailed) as caught:
        asyncio.run(wait_until_ready(session, endpoint, "broken", timeout_seconds=180))

    found = dossier_of(caught.value, "wait until ready")
    assert (found.code, found.cause) == ("ResourceNotReady", Cause.PERMANENT)
    assert found.clue == "RuntimeError: broken_init: the weights are from another planet"
    assert f"what: {found.clue} (the online deployment" in dossier.text(found)


def test_one_that_failed_although_its_operation_succeeded_says_that_the_reason_is_not_known(
    session: Session,
    faults: Callable[..., None],
    model: Model,
    environment: Environment,
    endpoint: str,
) -> None:
    faults(method="PUT", path="/deployments/silent$", operation="failed_body")
    session.ml.online_deployments.begin_create_or_update(describe(endpoint, model, environment, "silent"))

    with pytest.raises(ProvisioningFailed, match="this run does not know which one that was; the state is") as caught:
        asyncio.run(wait_until_ready(session, endpoint, "silent", timeout_seconds=180))

    assert "read the log, fix what" in dossier_of(caught.value, "wait until ready").next_action


@pytest.mark.parametrize(
    ("status", "code", "kind", "cause", "action"),
    [
        (401, "ExpiredAuthenticationToken", AzureUnavailable, Cause.TRANSIENT, "the token has expired"),
        (401, "InvalidAuthenticationToken", CredentialsRejected, Cause.PERMANENT, "check AZURE_TENANT_ID"),
        (403, "RequestDisallowedByPolicy", AccessDenied, Cause.PERMANENT, "an Azure policy forbids it"),
        (403, "AuthorizationFailed", AccessDenied, Cause.PERMANENT, "'AzureML Data Scientist'"),
        (409, "Conflict", Busy, Cause.BUSY, "wait until it has ended"),
        (409, "ScopeLocked", RequestRefused, Cause.PERMANENT, "a lock forbids changes"),
        (429, "SubscriptionRequestsThrottled", AzureUnavailable, Cause.TRANSIENT, "in a few minutes"),
        (429, "RetryableErrorDueToAnotherOperation", Busy, Cause.BUSY, "wait until it has ended"),
    ],
)
def test_a_refused_request_is_named_with_its_class_and_next_action(
    session: Session,
    faults: Callable[..., None],
    endpoint: str,
    status: int,
    code: str,
    kind: type[RollwayError],
    cause: Cause,
    action: str,
) -> None:
    session.ml.online_endpoints.get(endpoint)
    body = {"error": {"code": code, "message": "The reason."}}
    # The SDK reads the endpoint first; a POST is not repeated by its own retries.
    faults(method="POST", path="/listKeys", status=status, body=body)

    error = refused(lambda: session.ml.online_endpoints.get_keys(endpoint))

    found = dossier_of(error, "smoke test")
    assert type(error) is kind
    assert (found.code, found.cause) == (code, cause)
    assert action in found.next_action
    assert found.error_tree == f"{code}: The reason."


def test_a_name_that_is_taken_asks_for_another(session: Session) -> None:
    ml = session.ml

    error = refused(
        lambda: ml.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=TAKEN_NAME, auth_mode="key"))
    )

    assert (type(error), error.cause) == (RequestRefused, Cause.PERMANENT)
    assert "choose another name in endpoint.yml" in str(error.hint)


def test_a_workspace_in_legacy_mode_says_how_to_leave_it(connect_as: Callable[..., Session], name: str) -> None:
    ml = connect_as(workspace="legacy").ml

    error = refused(
        lambda: ml.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key"))
    )

    assert (type(error), error.cause) == (RequestRefused, Cause.PERMANENT)
    assert "--v1-legacy-mode" in str(error.hint)


def test_a_managed_network_that_is_not_there_says_how_to_provision_it(
    connect: Callable[..., MLClient],
    connect_as: Callable[..., Session],
    model: Model,
    environment: Environment,
    name: str,
) -> None:
    create_endpoint(connect(workspace="networked"), name)
    ml = connect_as(workspace="networked").ml

    error = refused(lambda: ml.online_deployments.begin_create_or_update(describe(name, model, environment)))

    assert (type(error), error.cause, error.code) == (
        RequestRefused,
        Cause.PERMANENT,
        "WorkspaceManagedNetworkNotReady",
    )
    assert "az ml workspace provision-network" in str(error.hint)


def test_too_many_cores_are_a_matter_of_quota(
    session: Session,
    faults: Callable[..., None],
    model: Model,
    environment: Environment,
    endpoint: str,
) -> None:
    text = "Not enough quota available for Standard_DS3_v2. Current usage/limit: 20/24. Additional needed: 8."
    inner = json.dumps({"errors": {"VmSize": [text]}, "title": "One or more validation errors occurred."})
    details = [{"code": "InferencingClientCallFailed", "message": inner}]
    body = {"error": {"code": "BadRequest", "message": "The request is invalid.", "details": details}}
    faults(method="PUT", path="/deployments/large$", status=400, body=body)

    error = refused(
        lambda: session.ml.online_deployments.begin_create_or_update(describe(endpoint, model, environment, "large"))
    )

    assert (type(error), error.cause) == (RequestRefused, Cause.QUOTA)
    assert error.why == f"BadRequest: VmSize: {text}"
    assert "request more cores" in str(error.hint)


@pytest.mark.parametrize(("status", "body"), [(503, None), (429, "slow down")])
def test_a_sign_in_that_is_down_or_throttled_is_not_a_wrong_secret(
    connect_as: Callable[..., Session],
    faults: Callable[..., None],
    endpoint: str,
    status: int,
    body: object,
) -> None:
    faults(path="/oauth2/v2.0/token", status=status, count=None, **({} if body is None else {"body": body}))
    newcomer = connect_as()

    error = refused(lambda: newcomer.ml.online_endpoints.get(endpoint))

    assert (type(error), error.cause) == (AzureUnavailable, Cause.TRANSIENT)
    assert "Microsoft Entra is busy or has a problem" in str(error.hint)
