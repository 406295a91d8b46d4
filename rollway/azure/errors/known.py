"""The table behind the catalogue: what each known error of Azure means. Data, and no more.

The codes are those of Microsoft's troubleshooting page for online endpoints and of Azure Resource Manager. The first
rule that fits decides, so the special rules of a code stand before its general one.
"""

import re
from dataclasses import dataclass

from rollway.errors import Cause


@dataclass(frozen=True)
class Rule:
    """Fits one of `codes` (any, when empty) whose message has `words`, in an answer of one of `statuses` (any)."""

    codes: str  # separated by spaces
    cause: Cause
    hint: str
    words: str = ""  # a regular expression
    statuses: tuple[int, ...] = ()

    def fits(self, status: int, code: str, message: str) -> bool:
        return (
            (not self.codes or code in self.codes.lower().split())
            and (not self.statuses or status in self.statuses)
            and re.search(self.words, message, re.IGNORECASE | re.DOTALL) is not None
        )


BUSY = "another operation is running on the resource: wait until it has ended and run it again"
LATER = "Azure is busy or has a fault: run it again in a few minutes"
_NO_CAPACITY = (
    "the region has no such machines left at the moment: run it again in an hour or later, or take another "
    "instance_type (deployment.yml) or another region"
)
_CORES = (
    "ask for more cores of this family (portal: Quotas, Machine Learning), delete online deployments that nobody "
    "needs, or take fewer instances or a smaller instance_type; Azure counts 20 % more than asked for, for its upgrades"
)
_NAME_TAKEN = "choose another name in endpoint.yml: names are unique in a region, and in a cluster"
_NO_FILES = "the model's files are gone from the workspace's storage: register the model again"
_REGISTER = "register it once: `az provider register --namespace Microsoft.MachineLearningServices`"
_SCRIPT = "read the inference server's log, correct the scoring script or the environment and run the rollout again"
_EXTENSION = "have the cluster's administrator check, update or reinstall its Azure ML extension, then run it again"
_CLUSTER_NETWORK = (
    "have the cluster's administrator check that it reaches Microsoft Entra, the registry and the workspace (proxy, "
    "network policy, private endpoints), then run it again"
)

# A request was refused, and its outer code (BadRequest, UserError, Conflict) says less than its words.
_REFUSED = (
    Rule("RetryableErrorDueToAnotherOperation", Cause.BUSY, BUSY),
    Rule("", Cause.BUSY, BUSY, r"already running method", (400, 409)),
    Rule(
        "",
        Cause.PERMANENT,
        "switch the workspace's v1 legacy mode off (`az ml workspace update --name <workspace> --v1-legacy-mode "
        "false`); that takes minutes to work, then run it again",
        r"v1_?legacy_?mode",
    ),
    Rule("EndpointAlreadyExists", Cause.PERMANENT, _NAME_TAKEN),
    Rule("", Cause.PERMANENT, _NAME_TAKEN, r"endpoint.{0,80}already exists", (400, 409)),
    Rule("", Cause.PERMANENT, "change or delete the autoscale setting that is there", r"has an autoscale", (409,)),
    # Of an upload whose connection was lost: the client's own repetition finds the file of its first try.
    Rule("", Cause.TRANSIENT, LATER, r"specified blob already exists", (409,)),
    Rule(
        "", Cause.PERMANENT, "it exists with other content: give it another name or version", r"already exists", (409,)
    ),
    Rule(
        "",
        Cause.PERMANENT,
        "what failed when it was created can only be deleted: run the rollout again, which deletes and creates it",
        r"initial provisioning|not been created successfully",
        (400,),
    ),
    Rule("", Cause.PERMANENT, "it serves traffic: move that away first", r"receives \d+ ?% of", (400,)),
)

_QUOTA = (
    Rule(
        "OutOfQuota",
        Cause.TRANSIENT,
        _NO_CAPACITY,
        r"region.{0,80}capacity|capacity.{0,80}region|\b(lack of|no|insufficient)\b.{0,40}\bcapacity",
    ),
    Rule("AllocationFailed ZonalAllocationFailed OverconstrainedAllocationRequest", Cause.TRANSIENT, _NO_CAPACITY),
    Rule(
        "OutOfQuota",
        Cause.QUOTA,
        "the cluster has no room: ask for less (resources or instance_type in deployment.yml), delete online "
        "deployments that nobody needs, or have nodes added",
        r"kubernetes|unschedulable|nodes are available",
    ),
    Rule(
        "OutOfQuota",
        Cause.QUOTA,
        "the container needs more memory than it has: take an instance_type with more (deployment.yml), or load less",
        r"memory",
    ),
    Rule(
        "OutOfQuota",
        Cause.QUOTA,
        "image and model do not fit on the disk: make them smaller, or take an instance_type with more disk",
        r"\bdisk|space left",
    ),
    Rule(
        "OutOfQuota",
        Cause.QUOTA,
        "the subscription has reached its limit of role assignments: delete unused ones under Access control",
        r"role.?assignment",
    ),
    Rule(
        "OutOfQuota",
        Cause.QUOTA,
        "the limit of endpoints or online deployments is reached: delete unused ones, or ask for more in the portal",
        r"(at most|limit|maximum|number of).{0,60}(endpoint|deployment)|(endpoint|deployment)s?\b.{0,40}(limit|quota)",
    ),
    Rule(
        "OutOfQuota",
        Cause.QUOTA,
        "the limit of compute clusters is reached: delete unused ones, or ask for more in the portal under Quotas",
        r"cluster",
    ),
    Rule("OutOfQuota QuotaExceeded", Cause.QUOTA, _CORES),
    Rule("", Cause.QUOTA, _CORES, r"not enough quota|quota (was |is )?exceeded|exceed\w* .{0,60}quota", (400, 409)),
)

_PROVISIONING = (
    Rule(
        "ImageBuildFailure",
        Cause.TRANSIENT,
        "the build took too long: run it again once; if it does so again, make the environment smaller",
        r"tim(ed|e)[ -]?out",
    ),
    Rule(
        "ImageBuildFailure",
        Cause.PERMANENT,
        "the registry's keys are out of step: `az ml workspace sync-keys --name <workspace>`, then run it again",
        r"(registry|\bacr\b).{0,120}(unauthori[sz]ed|authenticat|credential|denied)"
        r"|(unauthori[sz]ed|authenticat|credential|denied).{0,120}(registry|\bacr\b)",
    ),
    Rule(
        "ImageBuildFailure",
        Cause.TRANSIENT,
        "the build did not reach the registry: run it again once; behind a private network give the workspace a "
        "compute for builds (`az ml workspace update --image-build-compute`)",
        r"(registry|\bacr\b).{0,80}(unreachable|reach|connect|communicat|network)"
        r"|(reach|connect|communicat).{0,80}(registry|\bacr\b)",
    ),
    Rule(
        "ImageBuildFailure",
        Cause.PERMANENT,
        "correct the environment's conda file or Dockerfile (Azure's text says what could not be built) and run the "
        "rollout again",
    ),
    Rule(
        "BadArgument",
        Cause.PERMANENT,
        "check AZURE_SUBSCRIPTION_ID, and that the subscription is active",
        r"subscription.{0,80}(exist|found|active|disabled)",
    ),
    Rule(
        "BadArgument",
        Cause.PERMANENT,
        "an MLflow model without a scoring script cannot be served with `egress_public_network_access: disabled`: give "
        "it a scoring script and an environment, or use the workspace's managed network",
        r"(mlflow|no.?code).{0,80}(private|egress|network)|(private|egress|network).{0,80}(mlflow|no.?code)",
    ),
    Rule(
        "BadArgument",
        Cause.PERMANENT,
        "give the endpoint's identity the role 'AcrPull' on the workspace's registry and 'Storage Blob Data Reader' on "
        "its storage; roles take minutes to work: when they were given just now, run it again",
        r"authori[sz]|role.?assign|permission|forbidden|denied",
    ),
    Rule(
        "BadArgument",
        Cause.PERMANENT,
        "a policy's template is wrong: have it, or its assignment, corrected",
        r"template",
    ),
    Rule(
        "BadArgument",
        Cause.PERMANENT,
        "ask for fewer resources in deployment.yml, and have the cluster's administrator see that azureml-fe runs",
        r"azureml-fe|resource requests?.{0,40}limit",
    ),
    Rule(
        "BadArgument",
        Cause.PERMANENT,
        "check that the environment's image exists, and that the endpoint's identity may pull it ('AcrPull')",
        r"image|registry",
    ),
    Rule(
        "BadArgument",
        Cause.PERMANENT,
        "check that the model is registered in this workspace, that its type is right and that its files are there",
        r"model",
    ),
    Rule(
        "BadArgument",
        Cause.PERMANENT,
        "correct what Azure names, in deployment.yml or endpoint.yml, and run the rollout again",
    ),
    Rule(
        "ResourceNotReady",
        Cause.PERMANENT,
        "read the inference server's log: when init() fails, correct it; when it is only slow, allow more time in "
        "liveness_probe and readiness_probe (initial_delay, failure_threshold) of deployment.yml",
        r"probe",
    ),
    Rule("ResourceNotReady", Cause.PERMANENT, _SCRIPT),
    Rule("StorageManifestError BlobContainerNotFound", Cause.PERMANENT, _NO_FILES),
    # As the reason of a failed operation; answered to a request, it is about what the request named.
    Rule("ResourceNotFound", Cause.PERMANENT, _NO_FILES, r"storagemanifest|blob|model", (200,)),
    Rule(
        "ResourceNotFound",
        Cause.PERMANENT,
        "check that the environment's image and its registry exist, that the endpoint can reach them, and that its "
        "identity has the role 'AcrPull'",
        r"image|registry|\bacr\b",
        (200,),
    ),
    Rule(
        "ResourceNotFound",
        Cause.PERMANENT,
        "something that the online deployment needs (image, registry, files) is gone or out of reach: bring it back",
        statuses=(200,),
    ),
    Rule(
        "WorkspaceManagedNetworkNotReady",
        Cause.TRANSIENT,
        "the workspace's managed network is being provisioned, which may take half an hour: run it again then",
        r"being provisioned|in progress",
    ),
    Rule(
        "WorkspaceManagedNetworkNotReady",
        Cause.PERMANENT,
        "provision the workspace's managed network once: `az ml workspace provision-network --name <workspace>`, wait "
        "until that has ended and run the rollout again",
    ),
    Rule(
        "SecretsInjectionError",
        Cause.PERMANENT,
        "let the endpoint's identity read the secret ('Azure Machine Learning Workspace Connection Secrets Reader' or "
        "'Key Vault Secrets User') and check its reference; roles take minutes to work: then run it again",
    ),
    Rule(
        "OperationCanceled OperationCancelled Canceled",
        Cause.TRANSIENT,
        "another operation took precedence: wait a minute and run it again",
    ),
    Rule(
        "InternalServerError ServiceError InternalError",
        Cause.TRANSIENT,
        "the service has a fault: run it again in a few minutes; if it stays, open a support request with the id",
    ),
)

_KUBERNETES = (
    Rule(
        "PodUnschedulable",
        Cause.QUOTA,
        "no node of the cluster has room or fits: ask for less, check the instance_type's node selector, or have nodes "
        "added",
    ),
    Rule("PodOutOfMemory", Cause.QUOTA, "the container needs more memory than its limit: raise that, or load less"),
    Rule(
        "ACRTokenExchangeFailed ACRTokenExchangeFailedError",
        Cause.TRANSIENT,
        "the cluster's role on the registry does not work yet, or the registry is busy: wait a minute and run it again",
    ),
    Rule("ACRSecretError", Cause.PERMANENT, f"when roles were given just now, run it again; else {_EXTENSION}"),
    Rule("TokenRefreshFailed", Cause.PERMANENT, _EXTENSION),
    Rule("GetAADTokenFailed ACRAuthenticationChallengeFailed", Cause.PERMANENT, _CLUSTER_NETWORK),
    Rule("KubernetesUnaccessible", Cause.PERMANENT, "the cluster refuses Azure ML: have its certificate rotated"),
    Rule(
        "ImagePullLoopBackOff",
        Cause.PERMANENT,
        "the cluster cannot pull the image: check its name, the registry, and the cluster's network policy",
    ),
    Rule(
        "KubernetesCrashLoopBackOff DeploymentCrashLoopBackOff",
        Cause.PERMANENT,
        f"{_SCRIPT}; when the log ends in the middle, give the container more memory",
    ),
    Rule("UserScriptInitFailed", Cause.PERMANENT, f"init() raised: {_SCRIPT}"),
    Rule("UserScriptImportError", Cause.PERMANENT, f"the scoring script imports what is not there: {_SCRIPT}"),
    Rule(
        "UserScriptFunctionNotFound", Cause.PERMANENT, "the scoring script needs init() and run(): add what is missing"
    ),
    Rule(
        "NamespaceNotFound",
        Cause.PERMANENT,
        "the compute's namespace is gone from the cluster: have the compute attached again with one that exists",
    ),
    Rule("EndpointNotFound", Cause.PERMANENT, "the endpoint is gone from the cluster: delete it, and run it again"),
    Rule("ScoringFeUnhealthy", Cause.PERMANENT, f"the cluster's gateway azureml-fe does not run: {_EXTENSION}"),
    Rule(
        "ValidateScoringFailed", Cause.PERMANENT, "the model does not answer at its address: see its log and its routes"
    ),
    Rule("InvalidDeploymentSpec", Cause.PERMANENT, "check instance_count and scale_settings in deployment.yml"),
    Rule(
        "InferencingClientCallFailed",
        Cause.PERMANENT,
        "the cluster's extension cannot be reached: have the compute detached and attached again, as it was",
    ),
)

_RESOURCE_MANAGER = (
    Rule(
        "ExpiredAuthenticationToken",
        Cause.TRANSIENT,
        "the token ran out meanwhile: run it again; when it comes back, check this machine's clock",
    ),
    Rule("SubscriptionRequestsThrottled TooManyRequests", Cause.TRANSIENT, LATER),
    Rule(
        "InvalidAuthenticationToken InvalidAuthenticationTokenAudience InvalidAuthenticationTokenTenant "
        "AuthenticationFailed",
        Cause.PERMANENT,
        "Azure does not accept the token: check AZURE_TENANT_ID, and that AZURE_AUTHORITY_HOST and "
        "AZUREML_CURRENT_CLOUD name the same cloud",
    ),
    Rule(
        "AuthorizationFailed LinkedAuthorizationFailed",
        Cause.PERMANENT,
        "give the identity the role 'AzureML Data Scientist' on the workspace; that takes minutes to work",
    ),
    Rule(
        "RequestDisallowedByPolicy",
        Cause.PERMANENT,
        "an Azure policy forbids it: do as it says, or ask who administers the subscription for an exemption; a role "
        "alone does not help",
    ),
    Rule("SubscriptionNotFound", Cause.PERMANENT, "check AZURE_SUBSCRIPTION_ID, and that the identity may see it"),
    Rule("ResourceGroupNotFound", Cause.PERMANENT, "check AZURE_RESOURCE_GROUP, and that the identity may see it"),
    Rule("MissingSubscriptionRegistration SubscriptionNotRegistered", Cause.PERMANENT, _REGISTER),
    Rule("ScopeLocked", Cause.PERMANENT, "a lock forbids changes: have it removed from the workspace or its group"),
)

TABLE = (*_REFUSED, *_QUOTA, *_PROVISIONING, *_KUBERNETES, *_RESOURCE_MANAGER)
