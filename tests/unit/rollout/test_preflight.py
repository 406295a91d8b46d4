"""The preflight finds everything that would stop a rollout, at once."""

from typing import Any

import pytest

from rollway.errors import PreflightFailed
from rollway.rollout.preflight import Finding, NetworkFacts, Severity, preflight, require_no_blockers
from rollway.rollout.quota import FamilyUsage, Usage, VmSize
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.spec import RolloutSpec
from tests.support.builders import rollout_spec

SIZE = "Standard_DS3_v2"
ABSENT = EndpointState(name="diabetes", exists=False)
MANAGED = {"isolation_mode": "AllowInternetOutbound", "managed_network_status": "Active"}


def settings(**changes: Any) -> dict[str, Any]:
    return {"type": "managed", "instance_type": SIZE, **changes}


def a_spec(endpoint: dict[str, Any] | None = None, **online_deployment: Any) -> RolloutSpec:
    return rollout_spec(endpoint=endpoint, **{"settings": settings(), **online_deployment})


def a_network(**changes: Any) -> NetworkFacts:
    return NetworkFacts(**{"region": "westeurope", **changes})


def a_usage(used: int = 0, limit: int | None = 100, **size: Any) -> Usage:
    values: dict[str, Any] = {"name": SIZE, "family": "standardDSv2Family", "cores": 4, **size}
    other = VmSize(name="Standard_F4s_v2", family="standardFSv2Family", cores=4)
    family = FamilyUsage(family="Standard DSv2 Family Cluster Dedicated vCPUs", used=used, limit=limit)
    return Usage(sizes=(VmSize(**values), other), families=(family,))


def one(name: str, instances: int = 1, size: str = SIZE) -> OnlineDeploymentState:
    return OnlineDeploymentState(
        name=name, provisioning_state="Succeeded", instance_count=instances, settings=settings(instance_type=size)
    )


def an_endpoint(*online_deployments: OnlineDeploymentState, **values: Any) -> EndpointState:
    return EndpointState(name="diabetes", online_deployments=online_deployments, **values)


def found(
    spec: RolloutSpec | None = None,
    endpoint: EndpointState = ABSENT,
    network: NetworkFacts | None = None,
    usage: Usage | None = None,
    **more: Any,
) -> list[tuple[str, str]]:
    """Severity and field of each finding."""
    return [(str(one.severity), one.field) for one in findings(spec, endpoint, network, usage, **more)]


def findings(
    spec: RolloutSpec | None = None,
    endpoint: EndpointState = ABSENT,
    network: NetworkFacts | None = None,
    usage: Usage | None = None,
    **more: Any,
) -> tuple[Finding, ...]:
    spec = spec or a_spec()
    chosen: dict[str, Any] = {
        "online_deployment": "new",
        "instances": spec.online_deployment.instance_count,
        **more,
    }
    return preflight(spec, endpoint, network or a_network(), usage or a_usage(), **chosen)


def test_nothing_is_found_when_nothing_stands_in_the_way() -> None:
    assert findings(endpoint=an_endpoint(one("blue"), traffic={"blue": 100})) == ()


def test_blockers_come_first_and_everything_is_found_at_once() -> None:
    everything = found(
        a_spec({"public_network_access": "disabled"}, settings=settings(instance_type="Standard_DS3")),
        network=a_network(is_v1_legacy=True, public_network_access="Disabled"),
    )

    assert everything == [
        ("blocker", "workspace: v1_legacy_mode"),
        ("blocker", "deployment.yml: egress_public_network_access"),
        ("blocker", "deployment.yml: instance_type"),
        ("warning", "endpoint.yml: public_network_access"),
    ]


@pytest.mark.parametrize(("there", "is_full"), [(19, False), (20, True)])
def test_an_endpoint_has_at_most_20_online_deployments(there: int, is_full: bool) -> None:
    endpoint = an_endpoint(*(one(f"number-{number}") for number in range(there)))

    assert found(endpoint=endpoint) == ([("blocker", "endpoint: online deployments")] if is_full else [])


def test_an_online_deployment_that_is_there_already_or_goes_before_takes_no_place() -> None:
    endpoint = an_endpoint(*(one(f"Number-{number}") for number in range(20)))

    assert found(endpoint=endpoint, online_deployment="number-7") == []
    assert found(endpoint=endpoint, removes=frozenset({"NUMBER-7"})) == []
    assert found(endpoint=endpoint, removes=frozenset({"absent"})) == [("blocker", "endpoint: online deployments")]


@pytest.mark.parametrize(("instances", "is_too_many"), [(50, False), (51, True)])
def test_an_online_deployment_has_at_most_50_instances(instances: int, is_too_many: bool) -> None:
    spec = a_spec(instance_count=instances)

    assert found(spec, usage=a_usage(limit=None)) == (
        [("blocker", "deployment.yml: instance_count")] if is_too_many else []
    )


@pytest.mark.parametrize(
    ("used", "instances", "free", "is_enough"),
    [
        (76, 5, 24, True),  # 1.2 x 5 = 6 instances of 4 cores
        (77, 5, 23, False),
        (68, 6, 32, True),  # 1.2 x 6 = 7.2, so 8 instances
        (69, 6, 31, False),
        (52, 10, 48, True),  # 1.2 x 10 = 12 exactly
        (53, 10, 47, False),
        (120, 1, 0, False),
    ],
)
def test_the_candidate_needs_cores_with_the_reserve_beside_stable(
    used: int, instances: int, free: int, is_enough: bool
) -> None:
    found = findings(a_spec(instance_count=instances), an_endpoint(one("blue", 5)), usage=a_usage(used))

    assert [one.field for one in found] == ([] if is_enough else ["deployment.yml: instance_count"])
    for finding in found:
        assert f"{instances} x {SIZE} take " in finding.message
        assert f"and {free} of 100 are free while stable still runs" in finding.message


def test_sizes_that_azure_exempts_have_no_reserve() -> None:
    size, spec = "Standard_ND40rs_v2", a_spec(settings=settings(instance_type="standard_nd40rs_v2"), instance_count=2)

    assert found(spec, usage=a_usage(limit=80, name=size, cores=40)) == []
    assert found(spec, usage=a_usage(limit=79, name=size, cores=40)) == [("blocker", "deployment.yml: instance_count")]


def test_an_online_deployment_that_is_adopted_needs_cores_only_for_more_instances() -> None:
    endpoint, full = an_endpoint(one("new", 5)), a_usage(used=120)

    assert found(a_spec(instance_count=5), endpoint, usage=full) == []
    assert found(a_spec(instance_count=4), endpoint, usage=full) == []
    (finding,) = findings(a_spec(instance_count=10), endpoint, usage=full)
    assert "take 24 more cores of standardDSv2Family" in finding.message


@pytest.mark.parametrize(
    ("leftover", "is_enough"),
    [(one("old", 5), True), (one("old", 4), False), (one("old", 5, "Standard_F4s_v2"), False)],
    ids=["as many cores", "fewer cores", "another family"],
)
def test_what_is_removed_first_frees_its_cores(leftover: OnlineDeploymentState, is_enough: bool) -> None:
    removed = found(
        a_spec(instance_count=5), an_endpoint(leftover), usage=a_usage(used=100), removes=frozenset({"old"})
    )

    assert removed == ([] if is_enough else [("blocker", "deployment.yml: instance_count")])


def test_a_candidate_that_starts_larger_than_the_file_says_needs_the_cores_of_its_real_size() -> None:
    (finding,) = findings(a_spec(instance_count=1), usage=a_usage(70), instances=8)

    assert finding.message.startswith(f"8 x {SIZE} take 40 cores of standardDSv2Family")


def test_a_candidate_that_stays_as_it_is_needs_no_cores() -> None:
    endpoint = an_endpoint(one("new", 1))

    assert findings(a_spec(instance_count=9), endpoint, usage=a_usage(100), instances=None) == ()


def test_a_candidate_that_failed_and_is_removed_first_frees_what_it_needs_again() -> None:
    full = a_usage(used=100)

    assert found(a_spec(), an_endpoint(one("new")), usage=full, removes=frozenset({"new"})) == []
    assert found(a_spec(instance_count=2), an_endpoint(one("new")), usage=full, removes=frozenset({"new"})) == [
        ("blocker", "deployment.yml: instance_count")
    ]


def test_a_family_without_a_limit_or_that_azure_does_not_list_has_room() -> None:
    unlisted = a_usage(limit=0).model_copy(update={"families": ()})

    assert found(usage=a_usage(used=1000, limit=None)) == []
    assert found(usage=unlisted) == []


def test_a_quota_that_cannot_be_read_is_a_warning() -> None:
    (finding,) = preflight(a_spec(), ABSENT, a_network(), None, online_deployment="new", instances=1)

    assert finding.severity is Severity.WARNING
    assert finding.message == "the quota could not be read, so it was not checked"
    assert "Reader on the subscription" in finding.hint


def test_a_size_that_the_region_has_not_is_a_blocker_that_proposes_another() -> None:
    (finding,) = findings(a_spec(settings=settings(instance_type="Standard_DS3_v3")))

    assert (finding.severity, finding.field) == (Severity.BLOCKER, "deployment.yml: instance_type")
    assert "Standard_DS3_v3 is not a size of virtual machines in westeurope" in finding.message
    assert "did you mean 'Standard_DS3_v2'?" in finding.message


def test_a_size_that_online_endpoints_cannot_have_is_not_proposed() -> None:
    usage = a_usage(is_for_endpoints=False)

    (finding,) = findings(a_spec(settings=settings(instance_type="Standard_DS3_v3")), usage=usage)

    assert "'Standard_DS3_v2'" not in finding.message


def test_a_size_that_azure_does_not_list_for_online_endpoints_is_a_warning() -> None:
    assert found(usage=a_usage(is_for_endpoints=False)) == [("warning", "deployment.yml: instance_type")]


EGRESS = "deployment.yml: egress_public_network_access"


@pytest.mark.parametrize("egress", ["enabled", "disabled"])
def test_under_a_managed_network_egress_must_be_left_out(egress: str) -> None:
    spec = a_spec(settings=settings(egress_public_network_access=egress))

    assert found(spec, network=a_network(**MANAGED)) == [("blocker", EGRESS)]
    assert found(network=a_network(**MANAGED, public_network_access="Disabled")) == []
    assert found(spec) == []


@pytest.mark.parametrize(("status", "severity"), [("Inactive", "blocker"), (None, "warning")])
def test_a_managed_network_that_is_not_provisioned_refuses_online_deployments(
    status: str | None, severity: str
) -> None:
    network = a_network(isolation_mode="AllowOnlyApprovedOutbound", managed_network_status=status)

    (finding,) = findings(network=network)

    assert (finding.severity, finding.field) == (severity, "workspace: managed network")
    assert "az ml workspace provision-network" in finding.hint


def test_mlflow_without_code_needs_egress() -> None:
    no_code = {"environment": None, "code_sha256": None}
    disabled = settings(egress_public_network_access="disabled")

    assert found(a_spec(settings=disabled, **no_code)) == [("blocker", EGRESS)]
    assert found(a_spec(settings=disabled)) == []
    assert found(a_spec(**no_code)) == []


def test_a_private_workspace_needs_egress_to_be_disabled() -> None:
    private = a_network(public_network_access="Disabled")

    assert found(network=private) == [("blocker", EGRESS)]
    assert found(a_spec(settings=settings(egress_public_network_access="enabled")), network=private) == [
        ("blocker", EGRESS)
    ]
    assert found(a_spec(settings=settings(egress_public_network_access="disabled")), network=private) == []


def test_a_workspace_in_v1_legacy_mode_has_no_online_endpoints() -> None:
    assert found(network=a_network(is_v1_legacy=True)) == [("blocker", "workspace: v1_legacy_mode")]


def test_a_private_endpoint_is_smoke_tested_from_inside() -> None:
    (finding,) = findings(a_spec({"public_network_access": "disabled"}))

    assert (finding.severity, finding.field) == (Severity.WARNING, "endpoint.yml: public_network_access")
    assert finding.hint == "run the rollout on a machine inside that network"


def test_another_auth_mode_of_an_endpoint_in_use_is_a_warning() -> None:
    spec, live = a_spec({"auth_mode": "aad_token"}), an_endpoint(one("blue"), traffic={"blue": 100})

    (finding,) = findings(spec, live)

    assert (finding.severity, finding.field) == (Severity.WARNING, "endpoint.yml: auth_mode")
    assert "changes from key to aad_token while the endpoint is in use" in finding.message
    assert found(spec) == []
    assert found(spec, live.model_copy(update={"traffic": {"blue": 0}})) == []


@pytest.mark.parametrize(
    ("wanted", "today", "field"),
    [
        ({"kind": "managed"}, {"kind": "kubernetes"}, "endpoint.yml: compute"),
        ({}, {"location": "northeurope"}, "endpoint.yml: location"),
        (
            {"identities": ("system_assigned",)},
            {"identities": ("/subscriptions/s/identity",)},
            "endpoint.yml: identity",
        ),
    ],
    ids=["kind", "location", "identity"],
)
def test_what_an_endpoint_cannot_change_is_a_blocker(wanted: dict[str, Any], today: dict[str, Any], field: str) -> None:
    endpoint = an_endpoint(one("blue"), **today)

    (finding,) = findings(a_spec(wanted), endpoint)

    assert (finding.severity, finding.field) == (Severity.BLOCKER, field)
    assert "delete the endpoint first" in finding.hint
    assert found(a_spec(wanted), ABSENT.model_copy(update=today)) == []


def test_an_endpoint_whose_creation_failed_is_made_again_so_it_can_be_another() -> None:
    kubernetes = an_endpoint(kind="kubernetes", provisioning_state="Failed")

    assert found(endpoint=kubernetes) == []
    assert found(endpoint=kubernetes.model_copy(update={"online_deployments": (one("blue"),)})) == [
        ("blocker", "endpoint.yml: compute")
    ]
    assert found(endpoint=kubernetes.model_copy(update={"provisioning_state": "Succeeded"})) == [
        ("blocker", "endpoint.yml: compute")
    ]


def test_what_an_endpoint_cannot_change_may_be_said_again_or_left_out() -> None:
    today = an_endpoint(location="West Europe", identities=("/subscriptions/s/identity",))

    assert found(a_spec({"location": "westeurope", "identities": ("/subscriptions/s/identity",)}), today) == []
    assert found(endpoint=today) == []
    assert found(a_spec({"identities": ("system_assigned",)}), an_endpoint()) == []


def test_a_location_in_the_file_that_is_not_the_workspaces_is_ignored_by_azure() -> None:
    assert found(a_spec({"location": "northeurope"})) == [("warning", "endpoint.yml: location")]


def test_an_online_deployment_is_of_its_endpoints_kind() -> None:
    (finding,) = findings(a_spec(settings=settings(type="kubernetes")))

    assert (finding.severity, finding.field) == (Severity.BLOCKER, "deployment.yml: type")
    assert finding.message == "is kubernetes, but endpoint.yml describes a managed endpoint"


def test_a_kubernetes_endpoint_has_no_virtual_machines_and_no_network_of_azures() -> None:
    spec = a_spec(
        {"kind": "kubernetes", "public_network_access": "disabled"},
        settings=settings(type="kubernetes", instance_type="own"),
    )
    network = a_network(public_network_access="Disabled", isolation_mode="AllowInternetOutbound")

    assert preflight(spec, ABSENT, network, None, online_deployment="new", instances=1) == ()


def test_blockers_stop_the_rollout_and_every_finding_is_said() -> None:
    everything = findings(
        a_spec({"public_network_access": "disabled"}), network=a_network(is_v1_legacy=True, isolation_mode="x")
    )

    with pytest.raises(PreflightFailed) as caught:
        require_no_blockers(everything)

    lines = str(caught.value).splitlines()
    assert lines[0] == "the rollout cannot succeed, for 1 reason; nothing was started"
    assert "  blocker  workspace: v1_legacy_mode: a workspace in v1 legacy mode has no online endpoints" in lines
    assert "  warning  workspace: managed network: Azure does not report whether it is provisioned" in str(caught.value)
    assert "           try: run the rollout on a machine inside that network" in lines


def test_warnings_stop_nothing() -> None:
    warnings = findings(a_spec({"public_network_access": "disabled"}))

    assert [str(one.severity) for one in warnings] == ["warning"]
    require_no_blockers(warnings)
    require_no_blockers(())


def test_a_rollout_without_a_smoke_test_is_warned_about() -> None:
    (finding,) = findings(a_spec().model_copy(update={"smoke_requests": ()}))

    assert (finding.severity, finding.field) == (Severity.WARNING, "rollout.yml: smoke_test")
    assert finding.message.startswith("is none: traffic moves to what Azure calls ready")


def test_functions_that_the_environment_may_need_are_warned_about() -> None:
    (finding,) = findings(a_spec(missing_functions=("init", "run")))

    assert (finding.severity, finding.field) == (Severity.WARNING, "deployment.yml: code_configuration.scoring_script")
    assert finding.message.startswith("has no init() and no run(): ")


def test_a_conda_file_without_the_server_is_warned_about() -> None:
    (finding,) = findings(a_spec(lacks_server=True))

    assert (finding.severity, finding.field) == (Severity.WARNING, "deployment.yml: environment.conda_file")
    assert finding.message.startswith("names no azureml-inference-server-http: ")
    assert "below pip" in finding.hint
