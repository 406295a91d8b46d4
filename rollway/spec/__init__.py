"""A rollout folder as frozen values, and the checks that need only the text of its files.

A folder `deployments/<name>/` holds Azure's own `endpoint.yml` and `deployment.yml` (CLI v2 YAML) and our
`rollout.yml`. `rollway.azure.folder` reads it and returns a `RolloutSpec`, or raises `InvalidRollout` with all problems
at once.
"""

from rollway.spec.folder import (
    MAX_INSTANCES,
    MAX_REQUEST_TIMEOUT_MS,
    NAME_RULE,
    ROUTE_KINDS,
    AssetSpec,
    EndpointSpec,
    OnlineDeploymentSpec,
    RolloutSpec,
    check_name,
    check_online_deployment,
    check_range,
)
from rollway.spec.progressive import (
    FULL_WEIGHT,
    ErrorLimits,
    Judge,
    LatencyLimits,
    Predictions,
    Probes,
    Progression,
    Step,
    Tolerance,
    probes_of,
)
from rollway.spec.rollout_file import (
    Alerts,
    Day,
    Follow,
    FreezeWindow,
    RolloutFile,
    check_strategy,
    parse_rollout_file,
)
from rollway.spec.scoring_script import missing_functions
from rollway.spec.smoke_test import (
    JSON,
    Expectation,
    NamedRequest,
    ScoringRequest,
    SmokeTest,
    SmokeTests,
    check_smoke_test,
    is_json,
    media_type_of,
    with_boundary,
)
from rollway.spec.values import Frozen, HiddenText, Problem, did_you_mean, json_text, without_consequences

__all__ = [
    "FULL_WEIGHT",
    "JSON",
    "MAX_INSTANCES",
    "MAX_REQUEST_TIMEOUT_MS",
    "NAME_RULE",
    "ROUTE_KINDS",
    "Alerts",
    "AssetSpec",
    "Day",
    "EndpointSpec",
    "ErrorLimits",
    "Expectation",
    "Follow",
    "FreezeWindow",
    "Frozen",
    "HiddenText",
    "Judge",
    "LatencyLimits",
    "NamedRequest",
    "OnlineDeploymentSpec",
    "Predictions",
    "Probes",
    "Problem",
    "Progression",
    "RolloutFile",
    "RolloutSpec",
    "ScoringRequest",
    "SmokeTest",
    "SmokeTests",
    "Step",
    "Tolerance",
    "check_name",
    "check_online_deployment",
    "check_range",
    "check_smoke_test",
    "check_strategy",
    "did_you_mean",
    "is_json",
    "json_text",
    "media_type_of",
    "missing_functions",
    "parse_rollout_file",
    "probes_of",
    "with_boundary",
    "without_consequences",
]
