"""The preflight: everything that Azure would refuse or that would fail later, found before anything is written."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from rollway.errors import PreflightFailed
from rollway.rollout import traffic
from rollway.rollout.quota import Usage, cores_needed
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.spec import MAX_INSTANCES, Frozen, RolloutSpec, did_you_mean

# learn.microsoft.com, "Manage and increase quotas", section online endpoints.
MOST_ONLINE_DEPLOYMENTS = 20
NO_ISOLATION = "disabled"
PROVISIONED = "active"
_SIZE, _COUNT = "deployment.yml: instance_type", "deployment.yml: instance_count"


class Severity(StrEnum):
    """Severity of a finding; only a blocker stops the rollout."""

    BLOCKER = "blocker"
    WARNING = "warning"


class Finding(Frozen):
    """One problem; `field` is its place, such as `deployment.yml: instance_type` or `workspace: …`."""

    severity: Severity
    field: str
    message: str
    hint: str

    @property
    def is_about_quota(self) -> bool:
        """True if it is about the quota of the region."""
        return self.field in (_SIZE, _COUNT)

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class NetworkFacts(Frozen):
    """Region and network of the workspace, in Azure's words and any letter case.

    `managed_network_status` is None when Azure does not tell.
    """

    region: str
    public_network_access: str = "Enabled"
    isolation_mode: str = "Disabled"
    managed_network_status: str | None = None
    is_v1_legacy: bool = False

    @property
    def has_managed_network(self) -> bool:
        """True if outbound traffic of the online deployments goes through the workspace's managed network."""
        return self.isolation_mode.lower() != NO_ISOLATION


def preflight(
    spec: RolloutSpec,
    endpoint: EndpointState,
    network: NetworkFacts,
    usage: Usage | None,
    *,
    online_deployment: str,
    instances: int | None,
    removes: frozenset[str] = frozenset(),
) -> tuple[Finding, ...]:
    """Return all findings, blockers first.

    Args:
        usage: Quota and usage of the region; None if Azure did not return them.
        online_deployment: Name of the candidate.
        instances: The number of instances that the rollout gives it; None if it stays as it is.
        removes: Online deployments that are deleted before the candidate is created.
    """
    gone = frozenset(name.lower() for name in removes)
    kept = tuple(one for one in endpoint.online_deployments if one.name.lower() not in gone)
    candidate = next((one for one in kept if one.name.lower() == online_deployment.lower()), None)
    is_kubernetes = spec.endpoint.kind == "kubernetes"
    found = [
        *_workspace(network),
        *_immutable(spec, endpoint, network),
        *_limits(spec, kept, candidate),
        *_clients(spec, endpoint),
        *_smoke_test(spec),
        *_script(spec),
    ]
    if not is_kubernetes:
        removed = tuple(one for one in endpoint.online_deployments if one.name.lower() in gone)
        found += [*_network(spec, network), *_quota(spec, network, usage, candidate, instances, removed)]
    return tuple(sorted(found, key=lambda one: one.severity is not Severity.BLOCKER))


def require_no_blockers(findings: Sequence[Finding]) -> None:
    """Raise PreflightFailed with all findings if one of them is a blocker."""
    blockers = [one for one in findings if one.severity is Severity.BLOCKER]
    if not blockers:
        return
    count = f"{len(blockers)} reason{'s' if len(blockers) > 1 else ''}"
    raise PreflightFailed(
        f"the rollout cannot succeed, for {count}; nothing was started",
        where=", ".join(one.field for one in blockers),
        hint="do what each blocker says, and look again with `rollway plan`",
        details=describe(findings),
    )


def describe(findings: Sequence[Finding]) -> str:
    """Return one line per finding, followed by its hint."""
    return "\n".join(f"  {one.severity.value}  {one}\n           try: {one.hint}" for one in findings)


def _workspace(network: NetworkFacts) -> Iterator[Finding]:
    if network.is_v1_legacy:
        yield _blocker(
            "workspace: v1_legacy_mode",
            "a workspace in v1 legacy mode has no online endpoints",
            "set v1_legacy_mode of the workspace to false; it takes up to an hour to take effect",
        )


def _immutable(spec: RolloutSpec, endpoint: EndpointState, network: NetworkFacts) -> Iterator[Finding]:
    """Differences from the existing endpoint that Azure cannot change in place."""
    wanted, is_same_region = spec.endpoint, _region(endpoint.location) in ("", _region(network.region))
    is_failed = endpoint.is_settled and endpoint.provisioning_state.lower() != "succeeded"
    # An endpoint whose creation failed is deleted and created again.
    is_kept = endpoint.exists and not (is_failed and not endpoint.online_deployments)
    another = "delete the endpoint first, or choose another name in endpoint.yml"
    kind = spec.online_deployment.settings.get("type", "managed")
    if kind != wanted.kind:
        yield _blocker(
            "deployment.yml: type",
            f"is {kind}, but endpoint.yml describes a {wanted.kind} endpoint",
            "a Kubernetes endpoint has `compute` in endpoint.yml and `type: kubernetes` in deployment.yml",
        )
    if is_kept and endpoint.kind != wanted.kind:
        message = f"the endpoint is {endpoint.kind} and cannot become {wanted.kind}"
        yield _blocker("endpoint.yml: compute", message, another)
    if is_kept and not is_same_region:
        message = f"the endpoint is in {endpoint.location} and cannot move to the workspace's region {network.region}"
        yield _blocker("endpoint.yml: location", message, another)
    elif _region(wanted.location) not in ("", _region(network.region)):
        message = f"{wanted.location} is ignored: endpoints are in the workspace's region, {network.region}"
        yield _warning("endpoint.yml: location", message, "remove it, or use a workspace in that region")
    if is_kept and wanted.identities and endpoint.identities and wanted.identities != endpoint.identities:
        today, then = ", ".join(endpoint.identities), ", ".join(wanted.identities)
        yield _blocker("endpoint.yml: identity", f"is {today} and cannot become {then}", another)


def _smoke_test(spec: RolloutSpec) -> Iterator[Finding]:
    if not spec.is_smoke_tested:
        yield _warning(
            "rollout.yml: smoke_test",
            "is none: traffic moves to what Azure calls ready, and nobody looks at an answer, before or after",
            "name a request that the model must answer, and what it must answer",
        )


def _script(spec: RolloutSpec) -> Iterator[Finding]:
    if missing := spec.online_deployment.missing_functions:
        functions = " and no ".join(f"{name}()" for name in missing)
        yield _warning(
            "deployment.yml: code_configuration.scoring_script",
            f"has no {functions}: the container will not start, unless its image has another server than Microsoft's",
            "define what is missing, if Microsoft's inference server runs the script",
        )
    if spec.online_deployment.lacks_server:
        yield _warning(
            "deployment.yml: environment.conda_file",
            "names no azureml-inference-server-http: without it nothing runs the scoring script, no container starts",
            "add azureml-inference-server-http below pip, unless another package brings it",
        )


def _limits(
    spec: RolloutSpec, kept: tuple[OnlineDeploymentState, ...], candidate: OnlineDeploymentState | None
) -> Iterator[Finding]:
    if candidate is None and len(kept) >= MOST_ONLINE_DEPLOYMENTS:
        yield _blocker(
            "endpoint: online deployments",
            f"there are {len(kept)} already, and an endpoint has at most {MOST_ONLINE_DEPLOYMENTS}",
            "delete one that has no traffic: `az ml online-deployment delete`",
        )
    if spec.online_deployment.instance_count > MAX_INSTANCES:
        yield _blocker(
            _COUNT,
            f"{spec.online_deployment.instance_count} is more than an online deployment can have, {MAX_INSTANCES}",
            "use a larger instance_type, or a second endpoint",
        )


def _clients(spec: RolloutSpec, endpoint: EndpointState) -> Iterator[Finding]:
    """Changes that clients of the endpoint will notice."""
    today, wanted = endpoint.auth_mode, spec.endpoint.auth_mode
    if today != wanted and traffic.served_by(endpoint.traffic):
        yield _warning(
            "endpoint.yml: auth_mode",
            f"changes from {today} to {wanted} while the endpoint is in use: its clients' credentials stop working",
            "tell the clients first, or create a second endpoint for them",
        )
    if spec.endpoint.kind == "managed" and spec.endpoint.public_network_access == "disabled":
        yield _warning(
            "endpoint.yml: public_network_access",
            "is disabled, so the smoke test reaches the endpoint only through the workspace's private endpoint",
            "run the rollout on a machine inside that network",
        )


def _network(spec: RolloutSpec, network: NetworkFacts) -> Iterator[Finding]:
    egress = spec.online_deployment.settings.get("egress_public_network_access")
    field = "deployment.yml: egress_public_network_access"
    if network.has_managed_network:
        if egress is not None:
            yield _blocker(
                field,
                f"is {egress}, but the workspace has a managed network, which decides it",
                "remove it from deployment.yml",
            )
        yield from _managed_network(network)
        return
    is_no_code = spec.online_deployment.environment is None and spec.online_deployment.code_sha256 is None
    if egress == "disabled" and is_no_code:
        yield _blocker(
            field,
            "is disabled, which MLflow models without a scoring script do not support",
            "add code_configuration and an environment, or use the workspace's managed network instead",
        )
    if egress != "disabled" and network.public_network_access.lower() == "disabled":
        yield _blocker(
            field,
            "is enabled, but the workspace's public network access is disabled: image and model cannot be downloaded",
            "set it to disabled, or use the workspace's managed network",
        )


def _managed_network(network: NetworkFacts) -> Iterator[Finding]:
    status, field = network.managed_network_status, "workspace: managed network"
    hint = "provision it with `az ml workspace provision-network`; this takes some minutes"
    if status is None:
        yield _warning(
            field, "Azure does not report whether it is provisioned; it refuses online deployments until then", hint
        )
    elif status.lower() != PROVISIONED:
        yield _blocker(field, f"is not provisioned (its status is {status}), so Azure refuses online deployments", hint)


def _quota(
    spec: RolloutSpec,
    network: NetworkFacts,
    usage: Usage | None,
    candidate: OnlineDeploymentState | None,
    instances: int | None,
    removed: tuple[OnlineDeploymentState, ...],
) -> Iterator[Finding]:
    """Cores that the candidate needs in addition to those in use, compared with those free in its family."""
    field, name = _SIZE, _instance_type(spec.online_deployment.settings)
    today = candidate.instance_count if candidate else 0
    count = today if instances is None else instances
    if usage is None:
        hint = "grant the identity the role Reader on the subscription; `az ml compute list-usage` shows the quota"
        yield _warning(field, "the quota could not be read, so it was not checked", hint)
        return
    size = usage.size(name)
    if size is None:
        offered = [one.name for one in usage.sizes if one.is_for_endpoints]
        message = f"{name or 'nothing'} is not a size of virtual machines in {network.region}"
        hint = "choose a size from the managed online endpoints SKU list"
        yield _blocker(field, f"{message}{did_you_mean(name, offered)}", hint)
        return
    if not size.is_for_endpoints:
        message = f"{size.name} is not among the sizes that Azure lists for online endpoints in {network.region}"
        yield _warning(field, message, "choose a size from the managed online endpoints SKU list")
    family = usage.family(size.family)
    if family is None or family.limit is None:
        return
    needed = cores_needed(size, count) - cores_needed(size, today)
    freed = sum(
        cores_needed(other, one.instance_count)
        for one in removed
        if (other := usage.size(_instance_type(one.settings))) and usage.is_same_family(other.family, size.family)
    )
    free = family.limit - family.used + freed
    if needed > max(free, 0):
        more = " more" if candidate else ""
        yield _blocker(
            _COUNT,
            f"{count} x {size.name} take {needed}{more} cores of {size.family} in {network.region}, including Azure's "
            f"reserve of 20 %, and {max(free, 0)} of {family.limit} are free while stable still runs",
            "request more quota, delete online deployments without traffic, or use fewer or smaller instances",
        )


def _instance_type(settings: Mapping[str, object]) -> str:
    return str(settings.get("instance_type") or "")


def _region(name: str | None) -> str:
    # "West Europe" and "westeurope" are the same region.
    return (name or "").replace(" ", "").lower()


def _blocker(field: str, message: str, hint: str) -> Finding:
    return Finding(severity=Severity.BLOCKER, field=field, message=message, hint=hint)


def _warning(field: str, message: str, hint: str) -> Finding:
    return Finding(severity=Severity.WARNING, field=field, message=message, hint=hint)
