"""prefect.yaml and the work pools of docs/; `prefect deploy` ignores what it does not know, and these tests do not."""

import inspect
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import prefect.settings
import pytest
import yaml
from jsonschema import Draft202012Validator
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)
from prefect.flows import Flow
from prefect.utilities.importtools import import_object
from pydantic import BaseModel

from rollway.prefect.alerts import SILENCE_CHECK
from rollway.settings import PREFECT_PATIENCE

ROOT = Path(__file__).parents[2]
POOLS = sorted((ROOT / "docs/work-pools").glob("*.yml"))
ROLLOUT_FLOW = "flows/deploy.py:deploy_endpoint"
OURS = "definitions"  # YAML anchors; Prefect ignores the key
# What Prefect's model of the file has under these keys, in the form that people write.
NESTED: dict[str, type[BaseModel]] = {
    "deployments": DeploymentConfig,
    "work_pool": WorkPoolConfig,
    "schedules": RawScheduleConfig,
    "concurrency_limit": ConcurrencyLimitSpec,
}


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def unknown_keys(document: dict[str, Any], model: type[BaseModel], where: str = "") -> Iterator[str]:
    """The keys that Prefect's own model of prefect.yaml would drop."""
    known = {field.alias or name for name, field in model.model_fields.items()}
    for key, value in document.items():
        if key not in known:
            yield f"{where}{key}"
        elif key in NESTED:
            for index, item in enumerate(value if isinstance(value, list) else [value]):
                place = f"{key}[{index}]" if isinstance(value, list) else key
                yield from unknown_keys(item, NESTED[key], f"{where}{place}.")


def problems_of_prefect_yaml(document: dict[str, Any]) -> list[str]:
    found = list(unknown_keys({key: value for key, value in document.items() if key != OURS}, PrefectYamlModel))
    for entry in document["deployments"]:
        flow = import_object(str(entry["entrypoint"]).replace("flows/", str(ROOT / "flows") + "/"))
        assert isinstance(flow, Flow)
        known = set(inspect.signature(flow.fn).parameters)
        given = [entry, *entry.get("schedules", []), *entry.get("triggers", [])]
        found += [
            f"{entry['name']}: parameter {name}"
            for one in given
            for name in one.get("parameters", {})
            if name not in known
        ]
        found += problems_of_job_variables(entry["work_pool"]["job_variables"], "process")
    for action in document.get("pull", []):
        for name, arguments in action.items():
            step = import_object(name)
            found += [f"{name}: {one}" for one in arguments if one not in inspect.signature(step).parameters]
    return found


def problems_of_job_variables(variables: dict[str, Any], kind: str) -> list[str]:
    """Return the objections of Prefect's base job template for a kind of work pool to the variables."""
    packages = json.loads(
        files("prefect.server.api").joinpath("collections_data/views/aggregate-worker-metadata.json").read_text("utf-8")
    )
    template = next(kinds[kind] for kinds in packages.values() if kind in kinds)["default_base_job_configuration"]
    schema = {**template["variables"], "additionalProperties": False}
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(variables)]


def test_prefect_yaml_holds_nothing_that_prefect_would_ignore() -> None:
    document = read(ROOT / "prefect.yaml")

    assert problems_of_prefect_yaml(document) == []
    PrefectYamlModel.model_validate(document)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"pul": []}, "pul"),
        ({"deployments": [{"scheduels": []}]}, "deployments[0].scheduels"),
        ({"deployments": [{"schedules": [{"cron": "0 6 * * *", "activ": True}]}]}, "deployments[0].schedules[0].activ"),
        ({"deployments": [{"concurrency_limit": {"limits": 1}}]}, "deployments[0].concurrency_limit.limits"),
        ({"deployments": [{"work_pool": {"job_variable": {}}}]}, "deployments[0].work_pool.job_variable"),
        (
            {"deployments": [{"work_pool": {"job_variables": {"evn": {}}}}]},
            "$: Additional properties are not allowed ('evn' was unexpected)",
        ),
        ({"deployments": [{"parameters": {"rolout": "diabetes"}}]}, "diabetes: parameter rolout"),
        (
            {"pull": [{"prefect.deployments.steps.set_working_directory": {"folder": "."}}]},
            "prefect.deployments.steps.set_working_directory: folder",
        ),
    ],
    ids=str,
)
def test_a_typo_in_prefect_yaml_is_found(change: dict[str, Any], problem: str) -> None:
    document = read(ROOT / "prefect.yaml")
    for entry in change.pop("deployments", []):
        merged = {**document["deployments"][0], **entry}
        merged["work_pool"] = {"job_variables": {}, **merged["work_pool"]}
        document["deployments"][0] = merged
    document.update(change)

    assert problems_of_prefect_yaml(document) == [problem]


def test_every_rollout_folder_has_its_prefect_deployment() -> None:
    folders = {path.parent.name for path in (ROOT / "deployments").glob("*/rollout.yml")}
    entries = [entry for entry in read(ROOT / "prefect.yaml")["deployments"] if entry["entrypoint"] == ROLLOUT_FLOW]

    missing = folders - {entry["name"] for entry in entries}
    extra = {entry["name"] for entry in entries} - folders

    assert not missing, f"run `rollway prefect-yaml`: {sorted(missing)}"
    assert not extra, f"run `rollway prefect-yaml`: {sorted(extra)}"
    for entry in entries:
        name = entry["name"]
        assert entry["parameters"]["rollout"] == name, f"the entry {name} rolls out another folder"
        assert entry["tags"] == ["rollway", f"rollout:{name}"], f"alerts find the runs of {name} by these tags"


def test_a_run_that_went_silent_can_be_noticed() -> None:
    documents = [*read(ROOT / "prefect.yaml")["deployments"], *(read(path) for path in POOLS)]

    beats = {one["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] for one in documents}

    assert beats == {"30"}


def test_every_run_waits_for_an_absent_server_as_long_as_on_the_command_line() -> None:
    documents = [*read(ROOT / "prefect.yaml")["deployments"], *(read(path) for path in POOLS)]

    for one in documents:
        assert one["work_pool"]["job_variables"]["env"].items() >= PREFECT_PATIENCE.items()


def test_the_check_of_silent_runs_is_deployed_where_its_automation_looks_and_is_not_checked_itself() -> None:
    [check] = [one for one in read(ROOT / "prefect.yaml")["deployments"] if one["name"] == SILENCE_CHECK]

    flow = import_object(str(check["entrypoint"]).replace("flows/", str(ROOT / "flows") + "/"))

    assert isinstance(flow, Flow)
    assert flow.name == SILENCE_CHECK
    assert "tags" not in check


@pytest.mark.parametrize("path", POOLS, ids=lambda path: path.stem)
def test_the_documented_work_pools_fit_prefects_base_job_templates(path: Path) -> None:
    document = read(path)
    commands = path.read_text()

    assert list(document) == ["work_pool"]
    assert list(unknown_keys({"work_pool": document["work_pool"]}, DeploymentConfig)) == []
    assert problems_of_job_variables(document["work_pool"]["job_variables"], path.stem) == []
    assert f"prefect work-pool create {document['work_pool']['name']} --type {path.stem}\n" in commands


def test_a_wrong_job_variable_is_found() -> None:
    variables = read(ROOT / "docs/work-pools/azure-container-instance.yml")["work_pool"]["job_variables"]

    assert problems_of_job_variables({**variables, "cpu": "one"}, "azure-container-instance") == [
        "$.cpu: 'one' is not of type 'number'"
    ]
    assert problems_of_job_variables({}, "azure-container-instance") == [
        "$: 'resource_group_name' is a required property",
        "$: 'subscription_id' is a required property",
    ]


@pytest.mark.parametrize("path", ["prefect.yaml", "Dockerfile", "docs/operations.md", "docs/azure-setup.md"])
def test_every_setting_of_prefect_that_people_are_told_to_set_exists(path: str) -> None:
    told = set(re.findall(r"\bPREFECT_[A-Z_]+\b", (ROOT / path).read_text(encoding="utf-8")))

    # Those of Redis are settings of the package prefect-redis.
    assert [name for name in told if not hasattr(prefect.settings, name) and "REDIS" not in name] == []
