"""The files of a new rollout folder."""

import ast
import json
import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from rollway.errors import ConfigurationError
from rollway.spec import NAME_RULE, parse_rollout_file
from rollway.spec.starter import Starter, as_reference, close_name, require_name, scalar, texts

NAMES = st.from_regex(NAME_RULE, fullmatch=True) | st.sampled_from(["yes", "null", "True", "off", "a" * 32])


def documents(starter: Starter) -> dict[str, dict[str, Any]]:
    """Return the content of the three files that describe a rollout."""
    files = texts(starter)
    return {name: yaml.safe_load(files[name]) for name in ("endpoint.yml", "deployment.yml", "rollout.yml")}


@given(NAMES)
def test_every_valid_name_is_the_name_of_the_endpoint_in_all_files(name: str) -> None:
    made = documents(Starter(name=name, model_path="../../model.joblib"))

    assert made["endpoint.yml"]["name"] == name
    assert made["deployment.yml"]["name"] == made["deployment.yml"]["endpoint_name"] == name
    assert made["deployment.yml"]["model"]["name"] == name
    assert yaml.safe_load(texts(Starter(name=name, model="azureml:m:1"))["conda.yaml"])["name"] == f"{name}-inference"
    require_name(name)


@example("-")
@given(st.text(alphabet=string.printable + "äß{}[]", max_size=60))
def test_every_path_arrives_in_the_files_as_it_is(path: str) -> None:
    made = documents(Starter(name="abc", model_path=path, code=path, conda_file=path, request_file=path or "r"))

    deployment = made["deployment.yml"]
    assert deployment["model"]["path"] == path
    assert deployment["code_configuration"]["code"] == (path or "code")
    assert made["rollout.yml"]["smoke_test"]["request_file"] == (path or "r")
    assert yaml.safe_load(f"key: {scalar(path)}") == {"key": path}


@given(st.text(max_size=50))
def test_the_name_that_is_proposed_is_valid(name: str) -> None:
    close = close_name(name)

    assert close is None or NAME_RULE.fullmatch(close)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("my_model", "use my-model"),
        ("2nd model!", "use nd-model"),
        ("a" * 40, f"use {'a' * 32}"),
        ("-churn-", "use churn"),
        ("ab", "choose another one, such as churn"),
        ("", "choose another one, such as churn"),
    ],
)
def test_an_invalid_name_is_answered_with_a_valid_one(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        require_name(name)

    assert raised.value.what == f"{name!r} cannot be the name of an endpoint"
    assert raised.value.why == "Azure allows 3 to 32 letters, digits and '-', a letter first, no '-' last"
    assert raised.value.hint == hint


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("churn:7", "azureml:churn:7"),
        ("churn@latest", "azureml:churn@latest"),
        ("azureml:churn:7", "azureml:churn:7"),
        ("azureml://registries/team/models/churn/versions/7", "azureml://registries/team/models/churn/versions/7"),
        ("azureml:/subscriptions/0/x", "azureml:/subscriptions/0/x"),
        ("churn", None),
        ("models/churn.joblib", None),
        ("azureml:churn", None),
        ("churn:", None),
    ],
)
def test_a_model_is_written_as_deployment_yml_takes_it(text: str, reference: str | None) -> None:
    assert as_reference(text) == reference


def test_a_model_alone_gets_a_script_packages_and_a_request() -> None:
    files = texts(Starter(name="churn", model="azureml:churn:1"))

    assert set(files) == {
        "endpoint.yml",
        "deployment.yml",
        "rollout.yml",
        "code/score.py",
        "conda.yaml",
        "request.json",
    }
    assert {node.name for node in ast.parse(files["code/score.py"]).body if isinstance(node, ast.FunctionDef)} == {
        "init",
        "run",
    }
    assert json.loads(files["request.json"]) == {"data": [[0.0]]}


def test_what_a_person_has_is_referred_to_and_not_written() -> None:
    starter = Starter(
        name="churn",
        model="azureml:churn:1",
        code="../../scoring/churn",
        script="serve.py",
        conda_file="../../scoring/churn/conda.yaml",
        request_file="../../scoring/churn/request.json",
    )

    assert set(texts(starter)) == {"endpoint.yml", "deployment.yml", "rollout.yml"}
    deployment = documents(starter)["deployment.yml"]
    assert deployment["code_configuration"] == {"code": "../../scoring/churn", "scoring_script": "serve.py"}
    assert deployment["environment"]["conda_file"] == "../../scoring/churn/conda.yaml"


def test_an_mlflow_model_has_neither_script_nor_environment() -> None:
    starter = Starter(name="churn", model_path="../../model", is_mlflow=True)

    assert set(texts(starter)) == {"endpoint.yml", "deployment.yml", "rollout.yml", "request.json"}
    deployment = documents(starter)["deployment.yml"]
    assert deployment["model"] == {"name": "churn", "path": "../../model", "type": "mlflow_model"}
    assert not deployment.keys() & {"code_configuration", "environment"}
    assert "input_data" in json.loads(texts(starter)["request.json"])


@pytest.mark.parametrize("is_mlflow", [False, True])
def test_rollout_yml_is_valid_and_names_its_schema_if_there_is_one(is_mlflow: bool) -> None:
    with_schema = Starter(name="churn", model="azureml:m:1", is_mlflow=is_mlflow, schema_file="../schema/s.json")

    assert not isinstance(parse_rollout_file(documents(with_schema)["rollout.yml"], "rollout.yml"), list)
    assert texts(with_schema)["rollout.yml"].startswith("# yaml-language-server: $schema=../schema/s.json\n")
    without = with_schema.model_copy(update={"schema_file": None})
    assert "yaml-language-server" not in texts(without)["rollout.yml"]


def test_the_packages_are_those_of_the_example() -> None:
    example = yaml.safe_load((Path(__file__).parents[2] / "scoring/diabetes/conda.yaml").read_text())

    made = yaml.safe_load(texts(Starter(name="churn", model="azureml:m:1"))["conda.yaml"])

    assert made["dependencies"] == example["dependencies"]
