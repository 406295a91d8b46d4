"""The same rollout, started from the Prefect UI: its API creates the run, and a worker carries it out.

The Prefect deployments are those of a copy of this checkout under another path, as an operator's is.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollway.local.stack import Stack
from tests.support.rest import Rest
from tests.support.world import Rollout, World

ROOT = Path(__file__).parents[2]
RUN_TIMEOUT_SECONDS = 300
PARTS = ("flows", "tasks", "rollway", "scoring", "deployments", "prefect.yaml")
ADDRESS = ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZUREML_WORKSPACE")
IDENTITY = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")


@dataclass
class Operator:
    """A checkout whose prefect.yaml was deployed, a worker that runs there, and the API behind the Prefect UI."""

    checkout: Path
    rollout: Rollout
    api: httpx.Client

    def start_run(self, state: str = "SCHEDULED", **parameters: Any) -> httpx.Response:
        """Create a run like the button of the form; a worker starts it."""
        deployment = self.api.get("/deployments/name/deploy-endpoint/diabetes").raise_for_status().json()
        return self.api.post(
            f"/deployments/{deployment['id']}/create_flow_run",
            json={"parameters": parameters, "state": {"type": state}},
        )

    def wait_until_ended(self, run_id: str) -> dict[str, Any]:
        """The flow run in its last state."""
        deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
        while True:
            run: dict[str, Any] = self.api.get(f"/flow_runs/{run_id}").raise_for_status().json()
            if run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") or time.monotonic() > deadline:
                return run
            time.sleep(0.5)


@pytest.fixture(scope="module")
def operator(stack: Stack, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A copy of what a worker needs, with one more rollout; each package leaves a mark where it was imported from."""
    world = World(stack, variables, Rest(variables), tmp_path_factory.mktemp("operator"))
    checkout = world.tmp_path / "checkout"
    for part in PARTS:
        source, target = ROOT / part, checkout / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for module in ("flows/deploy.py", "tasks/__init__.py", "rollway/__init__.py"):
        with (checkout / module).open("a") as code:
            code.write('\nimport pathlib\npathlib.Path(__file__ + ".imported").touch()\n')
    rollout = world.make_rollout()
    rollout.folder = checkout / "deployments" / rollout.name
    rollout.write()
    worker = stack.start_worker(checkout)
    yield Operator(checkout, rollout, httpx.Client(base_url=f"{stack.ui_url}/api", timeout=RUN_TIMEOUT_SECONDS))
    worker.stop()


def test_a_run_created_through_the_ui_is_carried_out_by_a_worker(world: World, operator: Operator) -> None:
    for mark in operator.checkout.rglob("*.imported"):
        mark.unlink()
    name = operator.rollout.name

    run = operator.start_run(rollout=name).raise_for_status().json()
    ended = operator.wait_until_ended(run["id"])

    assert ended["state"]["name"] == "Completed", ended["state"]["message"]
    assert world.rest.score(name, {"data": [[1.0]]}).json()["answer"] == 42
    assert ended["name"] == f"{name} · model 1"
    assert {"rollway", f"rollout:{name}", f"model:{name}:1"} <= set(ended["tags"])
    marks = {str(mark.relative_to(operator.checkout)) for mark in operator.checkout.rglob("*.imported")}
    assert marks == {f"{one}.imported" for one in ("flows/deploy.py", "tasks/__init__.py", "rollway/__init__.py")}


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("rollout", "diabtes", "'diabtes' is not one of ['diabetes', "),
        ("model_version", "azureml:diabetes:7", "'azureml:diabetes:7' does not match"),
        ("model_version", 7, "7 is not valid"),
        ("dry_run", "perhaps", "'perhaps' is not of type 'boolean'"),
        ("weight", 200, "200 is greater than the maximum of 100"),
        ("weight", 0, "0 is less than the minimum of 1"),
        ("workspace_block", "No Such/Name", "'No Such/Name' does not match"),
    ],
)
def test_a_form_with_a_wrong_field_is_refused_before_anything_starts(
    operator: Operator, field: str, value: Any, reason: str
) -> None:
    answer = operator.start_run(**{field: value})

    assert answer.status_code == 409
    assert f"Validation failed for field '{field}'. Failure reason: {reason}" in answer.json()["detail"]


def test_a_container_carries_out_a_run_with_the_workspace_and_the_identity_of_a_block(
    world: World, operator: Operator
) -> None:
    """`prefect flow-run execute` in the working directory, as the workers of Docker, Kubernetes and Azure have it."""
    save_block(world, "production", *(world.variables[name] for name in (*ADDRESS, *IDENTITY)))
    parameters = {"rollout": operator.rollout.name, "workspace_block": "production", "dry_run": True}
    run = operator.start_run("PENDING", **parameters).raise_for_status().json()
    environment = {name: value for name, value in world.variables.items() if name not in (*ADDRESS, *IDENTITY)}

    done = subprocess.run(
        [sys.executable, "-m", "prefect", "flow-run", "execute", run["id"]],
        cwd=operator.checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_SECONDS,
        check=False,
    )

    ended = operator.wait_until_ended(run["id"])
    assert ended["state"]["name"] == "Completed", done.stdout + done.stderr
    assert ended["name"].endswith(" · dry run")
    logs = operator.api.post("/logs/filter", json={"logs": {"flow_run_id": {"any_": [run["id"]]}}}).text
    blocks = operator.api.get("/block_types/slug/azureml-workspace/block_documents").raise_for_status().json()
    assert "Workspace" in logs
    assert {one["data"]["client_secret"] for one in blocks} == {"*" * 8}
    assert (
        world.variables["AZURE_CLIENT_SECRET"]
        not in logs + json.dumps(blocks) + json.dumps(ended) + done.stdout + done.stderr
    )


def test_a_block_that_is_not_there_is_named(world: World, operator: Operator) -> None:
    done = world.rollway("deploy", str(operator.rollout.folder), variables={"ROLLWAY_WORKSPACE_BLOCK": "prodution"})

    assert done.returncode == 2
    assert "the Prefect block azureml-workspace/prodution cannot be loaded" in done.stderr
    assert "ROLLWAY_WORKSPACE_BLOCK" in done.stderr


def save_block(world: World, name: str, *values: str) -> None:
    """Registers the form as operations.md says, and saves a block as the UI does."""
    subscription, group, workspace, tenant, client, secret = values
    register = [sys.executable, "-m", "prefect", "block", "register", "-m", "rollway.prefect.blocks"]
    subprocess.run(register, env=world.variables, capture_output=True, check=True)
    api = httpx.Client(base_url=f"{world.stack.ui_url}/api", timeout=RUN_TIMEOUT_SECONDS)
    form = api.get("/block_types/slug/azureml-workspace").raise_for_status().json()
    schemas = api.post("/block_schemas/filter", json={"block_schemas": {"block_type_id": {"any_": [form["id"]]}}})
    api.post(
        "/block_documents/",
        json={
            "name": name,
            "block_type_id": form["id"],
            "block_schema_id": schemas.raise_for_status().json()[0]["id"],
            "data": {
                "subscription_id": subscription,
                "resource_group": group,
                "workspace": workspace,
                "identity": "service principal",
                "tenant_id": tenant,
                "client_id": client,
                "client_secret": secret,
            },
        },
    ).raise_for_status()
