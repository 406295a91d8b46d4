"""Every known error of Azure: its cause and the next action."""

import pytest

from rollway.azure.errors.catalogue import classify
from rollway.azure.errors.known import TABLE
from rollway.errors import Cause

TRANSIENT, BUSY, QUOTA, PERMANENT = Cause.TRANSIENT, Cause.BUSY, Cause.QUOTA, Cause.PERMANENT

# Reasons of operations that failed: code, Azure's text in sense, cause, words of the next action.
OPERATIONS = [
    ("ImageBuildFailure", "pip could not find numpy==99", PERMANENT, "fix the environment's conda file"),
    (
        "ImageBuildFailure",
        "failed to write `x`: No space left on device (os error 28)",
        QUOTA,
        "the disk of the machine",
    ),
    ("ImageBuildFailure", "OSError: [Errno 28] No space left on device", QUOTA, "the disk of the machine"),
    ("InternalServerError", "No space left on device: /root/.cache. See the log.", QUOTA, "the disk of the machine"),
    (
        "ImageBuildFailure",
        "error sending request for url (https://index.example.com/simple/numpy/)\n dns error: failed to lookup address",
        TRANSIENT,
        "cannot reach the package index",
    ),
    (
        "ImageBuildFailure",
        "WARNING: Retrying after connection broken by 'NewConnectionError(... [Errno -3] Temporary failure in name "
        "resolution)': /simple/numpy/\nERROR: No matching distribution found for numpy",
        TRANSIENT,
        "cannot reach the package index",
    ),
    (
        "ImageBuildFailure",
        "CondaHTTPError: HTTP 000 CONNECTION FAILED for url <https://channel.example.com/x>",
        TRANSIENT,
        "cannot reach",
    ),
    (
        "ImageBuildFailure",
        "HTTPSConnectionPool(host='index.example.com', port=443): Read timed out.",
        TRANSIENT,
        "cannot reach",
    ),
    ("ImageBuildFailure", "invalid peer certificate: UnknownIssuer", PERMANENT, "does not trust the certificate"),
    ("ImageBuildFailure", "SSL: CERTIFICATE_VERIFY_FAILED self-signed certificate", PERMANENT, "does not trust"),
    (
        "ImageBuildFailure",
        "lookup x.azurecr.io: no such host: cannot connect to the registry",
        TRANSIENT,
        "could not reach the registry",
    ),
    ("ImageBuildFailure", "The image build timed out.", TRANSIENT, "run it again once"),
    ("ImageBuildFailure", "The container registry cannot be reached.", TRANSIENT, "could not reach the registry"),
    ("ImageBuildFailure", "Pull from the registry x: unauthorized", PERMANENT, "az ml workspace sync-keys"),
    ("OutOfQuota", "Not enough cores of standardDSv2Family.", QUOTA, "request more cores"),
    ("OutOfQuota", "Cluster quota is used up.", QUOTA, "compute clusters"),
    ("OutOfQuota", "The model is larger than the available disk space.", QUOTA, "do not fit on the disk"),
    ("OutOfQuota", "Container terminated due to insufficient memory.", QUOTA, "needs more memory"),
    ("OutOfQuota", "Role assignment limit reached.", QUOTA, "limit of role assignments"),
    ("OutOfQuota", "A subscription can have at most 100 online endpoints.", QUOTA, "endpoints or online deployments"),
    ("OutOfQuota", "Endpoint quota exceeded.", QUOTA, "endpoints or online deployments"),
    ("OutOfQuota", "Kubernetes unschedulable. Details:0/1 nodes are available", QUOTA, "the cluster has no room"),
    ("OutOfQuota", "The region has no capacity for the requested machines.", TRANSIENT, "in an hour or later"),
    ("OutOfQuota", "Due to a lack of capacity in the region, it failed.", TRANSIENT, "in an hour or later"),
    ("BadArgument", "The subscription does not exist.", PERMANENT, "check AZURE_SUBSCRIPTION_ID"),
    (
        "BadArgument",
        "Startup task failed due to authorization error.",
        PERMANENT,
        "'AcrPull' on the workspace's registry",
    ),
    (
        "BadArgument",
        "Startup task: incorrect role assignments on resource.",
        PERMANENT,
        "roles take minutes to take effect",
    ),
    ("BadArgument", "Invalid template function specification.", PERMANENT, "the template of an Azure policy is wrong"),
    ("BadArgument", "Unable to download user container image.", PERMANENT, "the environment's image exists"),
    ("BadArgument", "Unable to download user model.", PERMANENT, "the model is registered in this workspace"),
    ("BadArgument", "MLflow model format with private network is unsupported.", PERMANENT, "give it a scoring script"),
    ("BadArgument", "Resource requests are greater than limits.", PERMANENT, "request fewer resources"),
    ("BadArgument", "Something is wrong.", PERMANENT, "fix the field that Azure names"),
    ("ResourceNotReady", "User container has crashed or terminated.", PERMANENT, "read the inference server's log"),
    ("ResourceNotReady", "Liveness probe failed: status code 502.", PERMANENT, "allow more time in liveness_probe"),
    ("ResourceNotFound", "The blob of the model is gone.", PERMANENT, "register the model again"),
    ("ResourceNotFound", "The container registry cannot be reached.", PERMANENT, "its registry exist"),
    ("ResourceNotFound", "A dependency is missing.", PERMANENT, "missing or unreachable"),
    ("BlobContainerNotFound", "It is gone.", PERMANENT, "register the model again"),
    ("StorageManifestError", "It is gone.", PERMANENT, "register the model again"),
    ("WorkspaceManagedNetworkNotReady", "It is not provisioned.", PERMANENT, "az ml workspace provision-network"),
    ("WorkspaceManagedNetworkNotReady", "It is being provisioned.", TRANSIENT, "run it again in half an hour"),
    ("OperationCanceled", "Displaced by another one with a higher priority.", TRANSIENT, "wait a minute"),
    (
        "SecretsInjectionError",
        "The identity cannot read it.",
        PERMANENT,
        "grant the endpoint's identity access to the secret",
    ),
    ("InternalServerError", "Something is wrong.", TRANSIENT, "open a support request"),
    ("ServiceError", "Something is wrong.", TRANSIENT, "open a support request"),
    ("EndpointAlreadyExists", "It exists.", PERMANENT, "choose another name in endpoint.yml"),
    # Kubernetes
    ("ACRSecretError", "No secret.", PERMANENT, "Azure ML extension"),
    ("TokenRefreshFailed", "No token.", PERMANENT, "Azure ML extension"),
    ("GetAADTokenFailed", "No token.", PERMANENT, "that the cluster reaches Microsoft Entra"),
    ("ACRAuthenticationChallengeFailed", "No answer.", PERMANENT, "that the cluster reaches Microsoft Entra"),
    ("ACRTokenExchangeFailedError", "Not yet.", TRANSIENT, "run it again in a minute"),
    ("ACRTokenExchangeFailed", "Not yet.", TRANSIENT, "run it again in a minute"),
    ("KubernetesUnaccessible", "InvalidCertificate", PERMANENT, "rotate its certificate"),
    ("ImagePullLoopBackOff", "No image.", PERMANENT, "cannot pull the image"),
    ("KubernetesCrashLoopBackOff", "It crashes.", PERMANENT, "read the inference server's log"),
    ("DeploymentCrashLoopBackOff", "It crashes.", PERMANENT, "give the container more memory"),
    ("UserScriptInitFailed", "It raised.", PERMANENT, "init() raised"),
    ("UserScriptImportError", "No module.", PERMANENT, "imports a missing module"),
    ("UserScriptFunctionNotFound", "No run.", PERMANENT, "needs init() and run()"),
    ("NamespaceNotFound", "Gone.", PERMANENT, "attach the compute again"),
    ("EndpointNotFound", "Gone.", PERMANENT, "does not exist in the cluster"),
    ("ScoringFeUnhealthy", "Down.", PERMANENT, "azureml-fe is not running"),
    ("ValidateScoringFailed", "404", PERMANENT, "does not answer at its address"),
    ("InvalidDeploymentSpec", "Bad.", PERMANENT, "check instance_count"),
    ("PodUnschedulable", "No node.", QUOTA, "no node of the cluster fits or has room"),
    ("PodOutOfMemory", "Killed.", QUOTA, "more memory than its limit"),
    ("InferencingClientCallFailed", "No answer.", PERMANENT, "detach the compute and attach it again"),
]

# Answers to requests: status, code, text, cause, words of the next action.
REQUESTS = [
    (400, "BadRequest", "VmSize: Not enough quota available for Standard_DS3_v2", QUOTA, "request more cores"),
    (
        400,
        "BadRequest",
        "The workspace has v1_legacy_mode == true",
        PERMANENT,
        "switch off the workspace's v1 legacy mode",
    ),
    (400, "UserError", "An endpoint with name x already exists in region y.", PERMANENT, "choose another name"),
    (
        400,
        "BadRequest",
        "Endpoint: it failed during initial provisioning",
        PERMANENT,
        "deletes it and creates it again",
    ),
    (400, "BadRequest", "Deployment: Deployment x receives 10% of the traffic", PERMANENT, "move the traffic first"),
    (400, "SubscriptionNotRegistered", "no", PERMANENT, "az provider register"),
    (401, "InvalidAuthenticationToken", "no", PERMANENT, "check AZURE_TENANT_ID"),
    (401, "AuthenticationFailed", "no", PERMANENT, "check AZURE_TENANT_ID"),
    (401, "ExpiredAuthenticationToken", "no", TRANSIENT, "the token has expired"),
    (403, "AuthorizationFailed", "no", PERMANENT, "'AzureML Data Scientist' on the workspace"),
    (403, "AuthorizationFailed", "action 'Microsoft.Insights/metrics/read'", PERMANENT, "'Monitoring Reader'"),
    (403, "AuthorizationFailed", "'microsoft.insights/autoscaleSettings/write'", PERMANENT, "'Monitoring Contributor'"),
    (403, "RequestDisallowedByPolicy", "no", PERMANENT, "an Azure policy forbids it"),
    (404, "ResourceGroupNotFound", "no", PERMANENT, "check AZURE_RESOURCE_GROUP"),
    (404, "SubscriptionNotFound", "no", PERMANENT, "check AZURE_SUBSCRIPTION_ID"),
    (404, "ResourceNotFound", "The model was not found", PERMANENT, "check the name"),
    (409, "Conflict", "Already running method PUT on endpoint x", BUSY, "wait until it has ended"),
    (
        400,
        "UserError",
        "Cannot create a deployment in endpoint x because it is in Updating provisioning state.",
        BUSY,
        "wait until it has ended",
    ),
    (409, "Conflict", "The model x:1 already exists with another path", PERMANENT, "another name or version"),
    (409, "Conflict", "The target has an autoscale setting already: y", PERMANENT, "the existing autoscale setting"),
    (409, "MissingSubscriptionRegistration", "no", PERMANENT, "az provider register"),
    (409, "ScopeLocked", "no", PERMANENT, "a lock forbids changes"),
    (429, "SubscriptionRequestsThrottled", "no", TRANSIENT, "in a few minutes"),
    (429, "TooManyRequests", "no", TRANSIENT, "in a few minutes"),
    (429, "RetryableErrorDueToAnotherOperation", "no", BUSY, "wait until it has ended"),
    (500, "ServiceError", "InternalServerError", TRANSIENT, "open a support request"),
]


@pytest.mark.parametrize(("code", "text", "cause", "action"), OPERATIONS)
@pytest.mark.parametrize("shape", ["code", "prefix", "anchor"])
def test_the_reason_of_a_failed_operation_is_known_in_every_shape(
    shape: str, code: str, text: str, cause: Cause, action: str
) -> None:
    given = {
        "code": (code, text),
        "prefix": (None, f"{code}: {text}"),
        "anchor": (None, f"{text} See https://aka.ms/oe-tsg#error-{code.lower()}"),
    }[shape]

    found = classify(None, *given)

    assert (found.code, found.cause, found.is_known) == (code, cause, True)
    assert action in found.hint


@pytest.mark.parametrize("code", sorted({row[0] for row in OPERATIONS} - {"InferencingClientCallFailed"}))
def test_the_code_of_a_detail_counts_like_the_outer_one(code: str) -> None:
    assert classify(None, "UserError", "It failed.", ("InferencingClientCallFailed", code)).code == code


def test_the_services_own_client_failure_in_a_detail_is_ignored() -> None:
    found = classify(400, "BadRequest", "The request is invalid.", ("InferencingClientCallFailed",))

    assert (found.code, found.is_known) == ("BadRequest", False)


@pytest.mark.parametrize(("status", "code", "text", "cause", "action"), REQUESTS)
def test_a_refused_request_is_known(status: int, code: str, text: str, cause: Cause, action: str) -> None:
    found = classify(status, code, text)

    assert found.cause is cause
    assert action in found.hint


@pytest.mark.parametrize(
    ("status", "cause", "action"),
    [
        (None, PERMANENT, "read Azure's text and the log"),
        (400, PERMANENT, "fix what Azure names"),
        (401, PERMANENT, "sign in again"),
        (403, PERMANENT, "a policy or a firewall"),
        (404, PERMANENT, "check the name"),
        (408, TRANSIENT, "in a few minutes"),
        (409, BUSY, "wait until it has ended"),
        (429, TRANSIENT, "in a few minutes"),
        (500, TRANSIENT, "in a few minutes"),
        (501, PERMANENT, "fix what Azure names"),
        (503, TRANSIENT, "in a few minutes"),
    ],
)
def test_an_unknown_error_is_classified_by_its_status(status: int | None, cause: Cause, action: str) -> None:
    found = classify(status, "Unheard", "of it")

    assert (found.code, found.cause, found.is_known) == ("Unheard", cause, False)
    assert action in found.hint


def test_every_rule_of_the_table_is_reached() -> None:
    hints = {classify(None, code, text).hint for code, text, _, _ in OPERATIONS}
    hints |= {classify(status, code, text).hint for status, code, text, _, _ in REQUESTS}

    assert {rule.hint for rule in TABLE} - hints == set()


def test_a_specific_code_beats_a_vague_one() -> None:
    found = classify(None, "InternalServerError", "OutOfQuota: no cores", ("BadArgument",))

    assert (found.code, found.cause) == ("OutOfQuota", QUOTA)


def test_the_case_of_a_code_is_ignored() -> None:
    assert classify(None, "outofquota", "no cores").code == "OutOfQuota"


def test_a_code_in_a_containers_log_below_the_first_line_is_ignored() -> None:
    found = classify(None, None, "It crashed.\nOutOfQuota: said the script")

    assert (found.code, found.is_known) == (None, False)
