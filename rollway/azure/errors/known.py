"""The table of the catalogue: cause and next action of each known Azure error. Only data.

The codes are those of Microsoft's troubleshooting page for online endpoints and of Azure Resource Manager. The first
rule that fits decides, so the specific rules of a code come before its general one.
"""

from rollway.azure.errors.image_builds import IMAGE_BUILDS
from rollway.azure.errors.rule import Rule
from rollway.errors import Cause

BUSY = "another operation is running on the resource: wait until it has ended and run it again"
LATER = "Azure is busy or has a problem: run it again in a few minutes"
READ_METRICS = (
    "grant the identity the role 'Monitoring Reader' on the resource group; "
    "'AzureML Data Scientist' does not include it"
)
_NO_CAPACITY = (
    "the region has no such machines left at the moment: run it again in an hour or later, or use another "
    "instance_type (deployment.yml) or another region"
)
_CORES = (
    "request more cores of this family (portal: Quotas, Machine Learning), delete unused online deployments, or use "
    "fewer instances or a smaller instance_type; Azure reserves 20 % more for its upgrades"
)
_NAME_TAKEN = "choose another name in endpoint.yml: names are unique in a region, and in a cluster"
_NO_FILES = "the model's files are missing in the workspace's storage: register the model again"
_REGISTER = "register it once: `az provider register --namespace Microsoft.MachineLearningServices`"
_SCRIPT = "read the inference server's log, fix the scoring script or the environment and run the rollout again"
_EXTENSION = "ask the cluster's administrator to check, update or reinstall its Azure ML extension, then run it again"
_CLUSTER_NETWORK = (
    "ask the cluster's administrator to check that the cluster reaches Microsoft Entra, the registry and the workspace "
    "(proxy, network policy, private endpoints), then run it again"
)

# A request was refused, and its outer code (BadRequest, UserError, Conflict) says less than its words.
_REFUSED = (
    Rule("RetryableErrorDueToAnotherOperation", Cause.BUSY, BUSY),
    Rule("", Cause.BUSY, BUSY, r"already running method", (400, 409)),
    Rule("", Cause.BUSY, BUSY, r"because it is in (creating|updating|scaling) provisioning state", (400, 409)),
    Rule(
        "",
        Cause.PERMANENT,
        "switch off the workspace's v1 legacy mode (`az ml workspace update --name <workspace> --v1-legacy-mode "
        "false`), wait some minutes until it takes effect, and run it again",
        r"v1_?legacy_?mode",
    ),
    Rule("EndpointAlreadyExists", Cause.PERMANENT, _NAME_TAKEN),
    Rule("", Cause.PERMANENT, _NAME_TAKEN, r"endpoint.{0,80}already exists", (400, 409)),
    Rule("", Cause.PERMANENT, "change or delete the existing autoscale setting", r"has an autoscale", (409,)),
    # After a lost connection the client uploads again, and finds the file of its first try.
    Rule("", Cause.TRANSIENT, LATER, r"specified blob already exists", (409,)),
    Rule(
        "", Cause.PERMANENT, "it exists with other content: give it another name or version", r"already exists", (409,)
    ),
    Rule(
        "",
        Cause.PERMANENT,
        "its creation failed, so it cannot be updated: run the rollout again, which deletes it and creates it again",
        r"initial provisioning|not been created successfully",
        (400,),
    ),
    Rule("", Cause.PERMANENT, "it has traffic: move the traffic first", r"receives \d+ ?% of", (400,)),
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
        "the cluster has no room: request less (resources or instance_type in deployment.yml), delete unused online "
        "deployments, or add nodes",
        r"kubernetes|unschedulable|nodes are available",
    ),
    Rule(
        "OutOfQuota",
        Cause.QUOTA,
        "the container needs more memory: use an instance_type with more (deployment.yml), or load less",
        r"memory",
    ),
    Rule(
        "OutOfQuota",
        Cause.QUOTA,
        "image and model do not fit on the disk: make them smaller, or use an instance_type with a larger disk",
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
        "the limit of endpoints or online deployments is reached: delete unused ones, or request more in the portal",
        r"(at most|limit|maximum|number of).{0,60}(endpoint|deployment)|(endpoint|deployment)s?\b.{0,40}(limit|quota)",
    ),
    Rule(
        "OutOfQuota",
        Cause.QUOTA,
        "the limit of compute clusters is reached: delete unused ones, or request more in the portal under Quotas",
        r"cluster",
    ),
    Rule("OutOfQuota QuotaExceeded", Cause.QUOTA, _CORES),
    Rule("", Cause.QUOTA, _CORES, r"not enough quota|quota (was |is )?exceeded|exceed\w* .{0,60}quota", (400, 409)),
)

_PROVISIONING = (
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
        "grant the endpoint's identity 'AcrPull' on the workspace's registry and 'Storage Blob Data Reader' on "
        "its storage; roles take minutes to take effect: if you have just granted them, run it again",
        r"authori[sz]|role.?assign|permission|forbidden|denied",
    ),
    Rule(
        "BadArgument",
        Cause.PERMANENT,
        "the template of an Azure policy is wrong: ask an administrator to fix it or its assignment",
        r"template",
    ),
    Rule(
        "BadArgument",
        Cause.PERMANENT,
        "request fewer resources in deployment.yml, and ask the cluster's administrator to check azureml-fe",
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
        "check that the model is registered in this workspace, that its type is right and that its files exist",
        r"model",
    ),
    Rule(
        "BadArgument",
        Cause.PERMANENT,
        "fix the field that Azure names, in deployment.yml or endpoint.yml, and run the rollout again",
    ),
    Rule(
        "ResourceNotReady",
        Cause.PERMANENT,
        "read the inference server's log: if init() fails, fix it; if it is only slow, allow more time in "
        "liveness_probe and readiness_probe (initial_delay, failure_threshold) of deployment.yml",
        r"probe",
    ),
    Rule("ResourceNotReady", Cause.PERMANENT, _SCRIPT),
    Rule("StorageManifestError BlobContainerNotFound", Cause.PERMANENT, _NO_FILES),
    # As the reason of a failed operation. As the answer to a request, it is about the resource of the request.
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
        "something that the online deployment needs (image, registry, files) is missing or unreachable: restore it",
        statuses=(200,),
    ),
    Rule(
        "WorkspaceManagedNetworkNotReady",
        Cause.TRANSIENT,
        "the workspace's managed network is being provisioned: run it again in half an hour",
        r"being provisioned|in progress",
    ),
    Rule(
        "WorkspaceManagedNetworkNotReady",
        Cause.PERMANENT,
        "provision the workspace's managed network once: `az ml workspace provision-network --name <workspace>`, wait "
        "until it is provisioned, and run the rollout again",
    ),
    Rule(
        "SecretsInjectionError",
        Cause.PERMANENT,
        "grant the endpoint's identity access to the secret ('Azure Machine Learning Workspace Connection Secrets "
        "Reader' or 'Key Vault Secrets User'), check the reference to it, and run it again in a few minutes",
    ),
    Rule(
        "OperationCanceled OperationCancelled Canceled",
        Cause.TRANSIENT,
        "another operation took precedence: wait a minute and run it again",
    ),
    Rule(
        "InternalServerError ServiceError InternalError",
        Cause.TRANSIENT,
        "the service has a problem: run it again in a few minutes; if it persists, open a support request with the id",
    ),
)

_KUBERNETES = (
    Rule(
        "PodUnschedulable",
        Cause.QUOTA,
        "no node of the cluster fits or has room: request less, check the instance_type's node selector, or add nodes",
    ),
    Rule(
        "PodOutOfMemory", Cause.QUOTA, "the container needs more memory than its limit: raise the limit, or load less"
    ),
    Rule(
        "ACRTokenExchangeFailed ACRTokenExchangeFailedError",
        Cause.TRANSIENT,
        "the cluster's role on the registry is not yet effective, or the registry is busy: run it again in a minute",
    ),
    Rule("ACRSecretError", Cause.PERMANENT, f"if roles were granted just now, run it again; else {_EXTENSION}"),
    Rule("TokenRefreshFailed", Cause.PERMANENT, _EXTENSION),
    Rule("GetAADTokenFailed ACRAuthenticationChallengeFailed", Cause.PERMANENT, _CLUSTER_NETWORK),
    Rule(
        "KubernetesUnaccessible",
        Cause.PERMANENT,
        "the cluster refuses Azure ML: ask its administrator to rotate its certificate",
    ),
    Rule(
        "ImagePullLoopBackOff",
        Cause.PERMANENT,
        "the cluster cannot pull the image: check its name, the registry, and the cluster's network policy",
    ),
    Rule(
        "KubernetesCrashLoopBackOff DeploymentCrashLoopBackOff",
        Cause.PERMANENT,
        f"{_SCRIPT}; if the log ends abruptly, give the container more memory",
    ),
    Rule("UserScriptInitFailed", Cause.PERMANENT, f"init() raised: {_SCRIPT}"),
    Rule("UserScriptImportError", Cause.PERMANENT, f"the scoring script imports a missing module: {_SCRIPT}"),
    Rule(
        "UserScriptFunctionNotFound", Cause.PERMANENT, "the scoring script needs init() and run(): add the missing one"
    ),
    Rule(
        "NamespaceNotFound",
        Cause.PERMANENT,
        "the compute's namespace does not exist in the cluster: attach the compute again with an existing one",
    ),
    Rule(
        "EndpointNotFound", Cause.PERMANENT, "the endpoint does not exist in the cluster: delete it, and run it again"
    ),
    Rule("ScoringFeUnhealthy", Cause.PERMANENT, f"the cluster's gateway azureml-fe is not running: {_EXTENSION}"),
    Rule(
        "ValidateScoringFailed",
        Cause.PERMANENT,
        "the model does not answer at its address: check its log and its routes",
    ),
    Rule("InvalidDeploymentSpec", Cause.PERMANENT, "check instance_count and scale_settings in deployment.yml"),
    Rule(
        "InferencingClientCallFailed",
        Cause.PERMANENT,
        "the cluster's extension cannot be reached: detach the compute and attach it again with the same settings",
    ),
)

_RESOURCE_MANAGER = (
    Rule(
        "ExpiredAuthenticationToken",
        Cause.TRANSIENT,
        "the token has expired: run it again; if it happens again, check this machine's clock",
    ),
    Rule("SubscriptionRequestsThrottled TooManyRequests", Cause.TRANSIENT, LATER),
    Rule(
        "InvalidAuthenticationToken InvalidAuthenticationTokenAudience InvalidAuthenticationTokenTenant "
        "AuthenticationFailed",
        Cause.PERMANENT,
        "Azure does not accept the token: check AZURE_TENANT_ID, and that AZURE_AUTHORITY_HOST and "
        "AZUREML_CURRENT_CLOUD name the same cloud",
    ),
    Rule("AuthorizationFailed", Cause.PERMANENT, READ_METRICS, r"'microsoft\.insights/metric\w*/read'"),
    Rule(
        "AuthorizationFailed",
        Cause.PERMANENT,
        "grant the identity the role 'Monitoring Contributor' on the resource group; 'AzureML Data Scientist' does not "
        "include autoscale settings",
        r"'microsoft\.insights/autoscalesettings/",
    ),
    Rule(
        "AuthorizationFailed LinkedAuthorizationFailed",
        Cause.PERMANENT,
        "grant the identity the role 'AzureML Data Scientist' on the workspace; it takes minutes to take effect",
    ),
    Rule(
        "RequestDisallowedByPolicy",
        Cause.PERMANENT,
        "an Azure policy forbids it: comply with it, or ask an administrator of the subscription for an exemption; a "
        "role alone does not help",
    ),
    Rule(
        "SubscriptionNotFound", Cause.PERMANENT, "check AZURE_SUBSCRIPTION_ID, and that the identity has access to it"
    ),
    Rule(
        "ResourceGroupNotFound", Cause.PERMANENT, "check AZURE_RESOURCE_GROUP, and that the identity has access to it"
    ),
    Rule("MissingSubscriptionRegistration SubscriptionNotRegistered", Cause.PERMANENT, _REGISTER),
    Rule(
        "ScopeLocked",
        Cause.PERMANENT,
        "a lock forbids changes: ask an administrator to remove it from the workspace or its resource group",
    ),
)

TABLE = (*_REFUSED, *_QUOTA, *IMAGE_BUILDS, *_PROVISIONING, *_KUBERNETES, *_RESOURCE_MANAGER)
