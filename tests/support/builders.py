"""Values for tests: every builder gives something valid, and takes what the test is about."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rollway.rollout.plan import Action, Kind, Plan, plan
from rollway.rollout.record import with_record
from rollway.rollout.smoke import Measurement
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset
from rollway.spec import (
    AssetSpec,
    EndpointSpec,
    OnlineDeploymentSpec,
    RolloutFile,
    RolloutSpec,
    SmokeTest,
)

WORKSPACE_ID = (
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers"
    "/Microsoft.MachineLearningServices/workspaces/ws"
)


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
    folder.write("conda.yaml", "name: inference\ndependencies:\n  - python=3.11\n")
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
        smoke_request={"data": [[1.0]]},
    )


def asset(kind: str, name: str, version: str = "1") -> ResolvedAsset:
    """A registered version of a model or an environment."""
    return ResolvedAsset(id=f"{WORKSPACE_ID}/{kind}s/{name}/versions/{version}", name=name, version=version)


def a_plan(spec: RolloutSpec | None = None, endpoint: EndpointState | None = None, model_version: str = "1") -> Plan:
    """The plan for a spec on a state; by default the first rollout of all."""
    return plan(
        spec or rollout_spec(),
        asset("model", "diabetes", model_version),
        asset("environment", "inference"),
        endpoint or EndpointState(name="diabetes", exists=False),
    )


def planned(spec: RolloutSpec, endpoint: EndpointState | None = None, **options: Any) -> Plan:
    """The plan with any options or assets; by default for an endpoint that is not there."""
    assets: dict[str, Any] = {"model": asset("model", "diabetes"), "environment": asset("environment", "inference")}
    return plan(spec, endpoint=endpoint or EndpointState(name="diabetes", exists=False), **{**assets, **options})


def after(
    made: Plan, spec: RolloutSpec, before: EndpointState, *, actions: int | None = None, run: str = "run/1"
) -> EndpointState:
    """Return the endpoint after the first `actions` of a plan; after all of them it is also confirmed.

    Refuses what Azure would refuse, and what would hurt: deleting what serves, traffic to what is not ready.
    """
    state = before
    for action in made.actions[:actions]:
        if action.kind is Kind.RETIRE:
            state = _confirmed(made, state)
        state = _carried_out(action, made, spec, state, run)
    return _confirmed(made, state) if actions is None else state


def _confirmed(made: Plan, state: EndpointState) -> EndpointState:
    # As the promotion is noted: before anything is deleted to which traffic could return.
    record = state.record.proved(state.traffic).released()
    record = record.replacing(made.previous) if made.previous else record
    return state.model_copy(update={"tags": with_record(state.tags, record)})


def _carried_out(action: Action, made: Plan, spec: RolloutSpec, state: EndpointState, run: str) -> EndpointState:
    here = {one.name: one for one in state.online_deployments}
    existing = state.online_deployment(action.target)
    match action.kind:
        case Kind.CREATE_ENDPOINT | Kind.UPDATE_ENDPOINT:
            description = state.description if spec.endpoint.description is None else spec.endpoint.description
            update: dict[str, Any] = {
                "exists": True,
                "provisioning_state": "Succeeded",
                "auth_mode": spec.endpoint.auth_mode,
                "public_network_access": spec.endpoint.public_network_access,
                "description": description,
                "tags": {**state.tags, **spec.endpoint.tags},
            }
            return state.model_copy(update=update)
        case Kind.WAIT if action.target == state.name:
            return state.model_copy(update={"provisioning_state": "Succeeded"})
        case Kind.WAIT:
            assert existing is not None
            del here[existing.name]
            if not existing.is_being_deleted:
                here[existing.name] = existing.model_copy(update={"provisioning_state": "Succeeded"})
        case Kind.REMOVE | Kind.RETIRE:
            assert existing is not None
            assert not state.weight_of(existing.name), "what serves is never deleted"
            del here[existing.name]
        case Kind.CREATE:
            assert existing is None, "what is there is never overwritten"
            here[action.target] = _created(made, spec, run)
        case Kind.UPDATE:
            assert existing is not None
            tags = with_record({**existing.tags, **made.tags}, existing.record.changed(made.record, run))
            changed = {"tags": tags, "instance_count": made.instance_count}
            here[existing.name] = existing.model_copy(update={**changed, "provisioning_state": "Succeeded"})
        case Kind.ADOPT | Kind.PROVE:
            assert existing is not None
        case Kind.TAKE_OVER:
            return state
        case Kind.MOVE_TRAFFIC:
            assert existing is not None
            assert existing.is_succeeded, "traffic moves only to what is ready"
            tags = with_record(state.tags, state.record.moved(run, made.traffic_after, made.traffic_proven))
            return state.model_copy(update={"traffic": made.traffic_after, "tags": tags})
    return state.model_copy(update={"online_deployments": tuple(here.values())})


def _created(made: Plan, spec: RolloutSpec, run: str) -> OnlineDeploymentState:
    return OnlineDeploymentState(
        name=made.online_deployment,
        provisioning_state="Succeeded",
        instance_count=made.instance_count,
        tags=with_record(made.tags, made.record.created(run, "2026-01-01T00:00:00+00:00")),
        model=made.model.id if made.model else None,
        environment=made.environment.id if made.environment else None,
        settings=spec.online_deployment.settings,
        environment_variables=spec.online_deployment.environment_variables,
    )


def measurement(**changes: Any) -> Measurement:
    """An answer that is as expected."""
    values: dict[str, Any] = {"status": 200, "latency_seconds": 0.1, "body": {"predictions": [1.0]}, "served_by": None}
    return Measurement(**{**values, **changes})
