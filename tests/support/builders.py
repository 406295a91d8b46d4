"""Values for tests: every builder gives something valid, and takes what the test is about."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from rollway.rollout.facts import Facts
from rollway.rollout.plan import Plan, plan
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.request import Request
from rollway.rollout.smoke import Measurement
from rollway.rollout.state import EndpointState, ResolvedAsset
from rollway.rollout.wanted import Wanted
from rollway.settings import Workspace
from rollway.spec import (
    AssetSpec,
    EndpointSpec,
    OnlineDeploymentSpec,
    RolloutFile,
    RolloutSpec,
    ScoringRequest,
    SmokeTest,
)

WORKSPACE_ID = (
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers"
    "/Microsoft.MachineLearningServices/workspaces/ws"
)


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WORKSPACE = Workspace(subscription_id="0", resource_group="rg", name="ws")


@dataclass
class Clock:
    """A monotonic clock that only moves when somebody sleeps; `naps` are the sleeps, in seconds."""

    seconds: float = 0.0
    naps: list[float] = field(default_factory=list)

    def now(self) -> float:
        """Seconds since the test began."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Lets time pass at once."""
        self.naps.append(seconds)
        self.seconds += seconds


@dataclass
class RolloutFolder:
    """A folder with three files that describe a rollout, and the files they name; changes are written at once."""

    path: Path

    def read(self, file: str) -> dict[str, Any]:
        """The content of one of the three files."""
        content: dict[str, Any] = yaml.safe_load((self.path / file).read_text())
        return content

    def change(self, file: str, **changes: Any) -> None:
        """Sets top-level keys of a file; None removes one."""
        content = {**self.read(file), **changes}
        self.write(file, yaml.safe_dump({key: value for key, value in content.items() if value is not None}))

    def write(self, file: str, text: str) -> None:
        """Replaces a file."""
        (self.path / file).write_text(text)


def good_folder(root: Path) -> RolloutFolder:
    """A valid rollout folder under `root`, with its scoring script, conda file and request."""
    path = root / "deployments" / "diabetes"
    (path / "code").mkdir(parents=True)
    folder = RolloutFolder(path)
    folder.write("code/score.py", "def init():\n    pass\n\n\ndef run(data):\n    return data\n")
    folder.write("conda.yaml", "name: inference\ndependencies: [python=3.11, pip: [azureml-inference-server-http]]\n")
    folder.write("request.json", json.dumps({"data": [[1.0]]}))
    folder.write("endpoint.yml", yaml.safe_dump({"name": "diabetes", "auth_mode": "key"}))
    folder.write(
        "deployment.yml",
        yaml.safe_dump(
            {
                "name": "main",
                "endpoint_name": "diabetes",
                "model": "azureml:diabetes:1",
                "code_configuration": {"code": "code", "scoring_script": "score.py"},
                "environment": {"name": "inference", "image": "mcr.microsoft.com/base", "conda_file": "conda.yaml"},
                "instance_type": "Standard_DS3_v2",
                "instance_count": 1,
            }
        ),
    )
    folder.write("rollout.yml", yaml.safe_dump({"smoke_test": {"request_file": "request.json"}}))
    return folder


def online_deployment_spec(**changes: Any) -> OnlineDeploymentSpec:
    """Return the values of a deployment.yml."""
    values: dict[str, Any] = {
        "name": "main",
        "model": AssetSpec(reference="diabetes@latest"),
        "environment": AssetSpec(name="inference"),
        "code_sha256": "c0de" * 16,
        "instance_count": 1,
        "settings": {"instance_type": "Standard_DS3_v2", "request_settings": {"request_timeout_ms": 5000}},
    }
    return OnlineDeploymentSpec(**{**values, **changes})


def rollout_spec(endpoint: Mapping[str, Any] | None = None, **online_deployment: Any) -> RolloutSpec:
    """Return the values of a whole folder."""
    return RolloutSpec(
        folder="deployments/diabetes",
        endpoint=EndpointSpec(**{"name": "diabetes", **(endpoint or {})}),
        online_deployment=online_deployment_spec(**online_deployment),
        rollout=RolloutFile(smoke_test=SmokeTest(request_file="request.json")),
        smoke_requests=(ScoringRequest(document={"data": [[1.0]]}),),
    )


def asset(kind: str, name: str, version: str = "1") -> ResolvedAsset:
    """A registered version of a model or an environment."""
    return ResolvedAsset(id=f"{WORKSPACE_ID}/{kind}s/{name}/versions/{version}", name=name, version=version)


def wanted(model_version: str = "1", **changes: Any) -> Wanted:
    """The goal of a run: this version of the model with all traffic."""
    assets = {"model": asset("model", "diabetes", model_version), "environment": asset("environment", "inference")}
    return Wanted(**{**assets, **changes})


def facts(**changes: Any) -> Facts:
    """The knowledge of a run that has just begun."""
    return Facts(**{"attempt": "run/1", "started": NOW, "now": NOW, **changes})


def a_plan(
    spec: RolloutSpec | None = None, endpoint: EndpointState | None = None, model_version: str = "1", **goal: Any
) -> Plan:
    """The plan for a spec on a state; by default the first rollout of all."""
    spec = spec or rollout_spec()
    today = endpoint or EndpointState(name=spec.endpoint.name, exists=False)
    return plan(spec, wanted(model_version, **goal), today, facts()).model_copy(update={"workspace": str(WORKSPACE)})


def planned_rollout(spec: RolloutSpec | None = None, made: Plan | None = None, **changes: Any) -> PlannedRollout:
    """A run with its plan; by default the first rollout of all, which a person asked for."""
    spec = spec or rollout_spec()
    values = {
        "workspace": WORKSPACE,
        "spec": spec,
        "request": Request(folder=spec.folder),
        "wanted": wanted(),
        "plan": made or a_plan(spec),
    }
    return PlannedRollout(**{**values, **changes})


def measurement(**changes: Any) -> Measurement:
    """An answer that is as expected."""
    values: dict[str, Any] = {"status": 200, "latency_seconds": 0.1, "body": {"predictions": [1.0]}, "served_by": None}
    return Measurement(**{**values, **changes})


def autoscale_rule(
    resource: str, operator: str = "GreaterThan", threshold: int = 70, direction: str = "Increase"
) -> dict[str, Any]:
    """A rule of an autoscale setting, on the CPU of a resource."""
    return {
        "metricTrigger": {
            "metricName": "CpuUtilizationPercentage",
            "metricResourceUri": resource,
            "timeGrain": "PT1M",
            "statistic": "Average",
            "timeWindow": "PT5M",
            "timeAggregation": "Average",
            "operator": operator,
            "threshold": threshold,
        },
        "scaleAction": {"direction": direction, "type": "ChangeCount", "value": "1", "cooldown": "PT5M"},
    }


def autoscale_document(
    target: str, name: str = "by-hand", measured: tuple[str, ...] = (), **properties: Any
) -> dict[str, Any]:
    """An autoscale setting as Azure writes it, with a rule for each measured resource; default: the target."""
    rules = [autoscale_rule(resource) for resource in measured or (target,)]
    profile = {"name": "usual", "capacity": {"minimum": "2", "maximum": "5", "default": "3"}, "rules": rules}
    return {
        "id": f"/subscriptions/s/resourceGroups/rg/providers/Microsoft.Insights/autoscaleSettings/{name}",
        "name": name,
        "type": "Microsoft.Insights/autoscaleSettings",
        "location": "westeurope",
        "tags": {"team": "ml"},
        "properties": {
            "name": name,
            "enabled": True,
            "targetResourceUri": target,
            "profiles": [profile],
            "notifications": [],
            **properties,
        },
    }
