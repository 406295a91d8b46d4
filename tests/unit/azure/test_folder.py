"""A rollout folder: every problem of every file, all at once."""

from pathlib import Path
from typing import Any

import pytest

from rollway.azure.folder import load_folder
from rollway.errors import InvalidRollout
from rollway.spec import RolloutSpec
from tests.support.builders import WORKSPACE_ID, RolloutFolder

ENDPOINT, DEPLOYMENT, ROLLOUT = "endpoint.yml", "deployment.yml", "rollout.yml"
FILES = (ENDPOINT, DEPLOYMENT, ROLLOUT)
ROUTES = {f"{kind}_route": {"path": "/", "port": 8501} for kind in ("liveness", "readiness", "scoring")}
MODEL_ID = f"{WORKSPACE_ID}/models/diabetes/versions/3"


def load(folder: RolloutFolder) -> RolloutSpec:
    return load_folder(str(folder.path))


def problems_of(folder: RolloutFolder) -> list[str]:
    """Return each problem, without the path of the folder."""
    with pytest.raises(InvalidRollout) as caught:
        load(folder)
    assert f"{len(caught.value.problems)} problem" in str(caught.value)
    return [str(problem).replace(f"{folder.path}/", "") for problem in caught.value.problems]


def test_a_valid_folder_is_read(folder: RolloutFolder) -> None:
    spec = load(folder)

    assert (spec.name, spec.endpoint.name, spec.endpoint.auth_mode) == ("diabetes", "diabetes", "key")
    assert (spec.online_deployment.name, str(spec.online_deployment.model)) == ("main", "diabetes:1")
    assert spec.online_deployment.settings["instance_type"] == "Standard_DS3_v2"
    assert [one.document for one in spec.smoke_requests] == [{"data": [[1.0]]}]


def test_a_missing_folder_is_an_error_that_names_the_others(folder: RolloutFolder) -> None:
    with pytest.raises(InvalidRollout) as caught:
        load_folder(f"{folder.path.parent}/diabete")

    assert str(caught.value) == (
        f"there is no folder '{folder.path.parent}/diabete'\n"
        f"  where: {folder.path.parent}\n"
        "  try: there are diabetes, did you mean 'diabetes'?"
    )


def test_a_missing_folder_without_neighbours_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InvalidRollout, match=r"create one with endpoint\.yml, deployment\.yml and rollout\.yml"):
        load_folder(str(tmp_path / "nowhere" / "at-all"))


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_the_only_problem(folder: RolloutFolder, file: str) -> None:
    (folder.path / file).unlink()

    (problem,) = problems_of(folder)

    assert problem.startswith(f"{file}: the file is missing: ")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: x\n  bad: [1\n",
            "is not valid YAML: mapping values are not allowed here (line 2, column 6); check",
        ),
        (
            "name:\n\tx: 1\n",
            "is not valid YAML: found character '\\t' that cannot start any token (line 2, column 1)",
        ),
        ("name: x\n---\nname: y\n", "is not valid YAML: but found another document (line 2, column 1); remove the"),
    ],
    ids=["indentation", "tab", "two documents"],
)
def test_malformed_yaml_is_shown_with_its_line(folder: RolloutFolder, file: str, text: str, message: str) -> None:
    folder.write(file, text)

    (problem,) = problems_of(folder)

    assert problem.startswith(f"{file}: {message}")


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_not_text_is_a_problem_not_a_crash(folder: RolloutFolder, file: str) -> None:
    (folder.path / file).write_bytes(b"\xff\xfe\x00")

    (problem,) = problems_of(folder)

    assert problem.startswith(f"{file}: cannot be read: 'utf-8' codec can't decode")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (ENDPOINT, "", "must be a YAML mapping"),
        (ENDPOINT, "- a\n", "must be a YAML mapping"),
        (DEPLOYMENT, "", "must be a YAML mapping"),
        (DEPLOYMENT, "text", "must be a YAML mapping"),
        (ROLLOUT, "", "is empty; it must hold at least smoke_test.request_file"),
        (ROLLOUT, "- a\n", "is not a YAML mapping; it must hold at least smoke_test.request_file"),
    ],
)
def test_a_file_that_is_empty_or_no_mapping_is_refused(
    folder: RolloutFolder, file: str, text: str, message: str
) -> None:
    folder.write(file, text)

    (problem,) = problems_of(folder)

    assert problem.startswith(f"{file}: {message}")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": None}, "name: is missing: 3 to 32 letters, digits and '-', a letter first, no '-' last"),
        ({"auth_mod": "key"}, "auth_mod: unknown key, did you mean 'auth_mode'?"),
        (
            {"auth_mode": "kee"},
            "auth_mode: 'kee' is not allowed: write 'aml_token', 'key' or 'aad_token', did you mean 'key'?",
        ),
        (
            {"public_network_access": "maybe"},
            "public_network_access: 'maybe' is not allowed: write 'enabled' or 'disabled'",
        ),
        ({"tags": ["a"]}, "tags: a list is not a mapping of keys and values"),
        ({"identity": {"typ": "system_assigned"}}, "identity.typ: unknown key"),
        (
            {"traffic": {"blue": 100}},
            "traffic: is set by Rollway, after the smoke test: remove it",
        ),
    ],
)
def test_a_fault_in_endpoint_yml_is_named_with_its_field(
    folder: RolloutFolder, changes: dict[str, Any], problem: str
) -> None:
    folder.change(ENDPOINT, **changes)

    assert problems_of(folder) == [f"{ENDPOINT}: {problem}"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": None}, "name: is missing"),
        (
            {"name": "9x"},
            "name: '9x' is not a valid name: 3 to 32 letters, digits and '-', a letter first, no '-' last",
        ),
        ({"endpoint_name": "other"}, "endpoint_name: 'other' is not the endpoint of endpoint.yml, 'diabetes'"),
        ({"instance_type": None}, "instance_type: is missing"),
        ({"instnce_type": "x"}, "instnce_type: unknown key, did you mean 'instance_type'?"),
        ({"type": "manged"}, "type: 'manged' is not allowed: write 'managed' or 'kubernetes', did you mean 'managed'?"),
        ({"instance_count": 0}, "instance_count: 0 is out of range, allowed is 1 to 50"),
        ({"instance_count": "many"}, "instance_count: 'many' is not a whole number"),
        ({"liveness_probe": "x"}, "liveness_probe: 'x' is not a mapping of keys and values"),
        ({"environment_variables": ["A"]}, "environment_variables: a list is not a mapping of keys and values"),
        (
            {"egress_public_network_access": False},
            "egress_public_network_access: False is not allowed: write 'enabled' or 'disabled'",
        ),
        (
            {"request_settings": {"request_timeout": 1}},
            "request_settings.request_timeout: unknown key, did you mean 'request_timeout_ms'?",
        ),
        ({"readiness_probe": {"perod": 1}}, "readiness_probe.perod: unknown key, did you mean 'period'?"),
        (
            {"code_configuration": {"code": "code", "scoring_scrip": "score.py", "scoring_script": "score.py"}},
            "code_configuration.scoring_scrip: unknown key, did you mean 'scoring_script'?",
        ),
        (
            {"code_configuration": {"code": "code", "scoring_script": "scor.py"}},
            "code_configuration.scoring_script: there is no scor.py in code, did you mean 'score.py'?",
        ),
        (
            {"code_configuration": {"code": "code"}},
            "code_configuration.scoring_script: is missing: name the file in `code` that has init() and run()",
        ),
        (
            {"code_configuration": {"code": "cod", "scoring_script": "score.py"}},
            "code_configuration.code: there is no cod, did you mean 'code'?",
        ),
        (
            {"environment": {"image": "x", "conda_fil": "conda.yaml"}},
            "environment.conda_fil: unknown key, did you mean 'conda_file'?",
        ),
        (
            {"environment": {"name": "a", "build": {"pth": "code"}}},
            "environment.build.pth: unknown key, did you mean 'path'?",
        ),
        (
            {"environment": {"name": "a", "image": "x", "conda_file": "nope.yaml"}},
            "environment.conda_file: there is no nope.yaml, did you mean 'conda.yaml'?",
        ),
        ({"environment": {"name": "a", "build": {"path": "nope"}}}, "environment.build.path: there is no nope"),
        (
            {"environment": {"name": "a", "build": {"path": "code"}}},
            "environment.build.dockerfile_path: there is no code/Dockerfile",
        ),
        (
            {"environment": {"name": "a", "build": {"path": "code", "dockerfile_path": "x"}}},
            "environment.build.dockerfile_path: there is no code/x",
        ),
        (
            {"environment": {"image": "x", "inference_confg": {}}},
            "environment.inference_confg: unknown key, did you mean 'inference_config'?",
        ),
        (
            {
                "environment": {
                    "image": "x",
                    "inference_config": {**ROUTES, "scoring_route": {"path": "score", "port": 1}},
                }
            },
            "environment.inference_config.scoring_route.path: 'score' must begin with '/'",
        ),
        (
            {"environment": {"image": "x", "inference_config": {**ROUTES, "scoring_route": {"path": "/", "port": 0}}}},
            "environment.inference_config.scoring_route.port: 0 is out of range, allowed is 1 to 65535",
        ),
        ({"model_mount_path": "models"}, "model_mount_path: 'models' is not an absolute path in the container"),
        (
            {"environment": {}},
            "environment: has neither image nor build; a conda_file is installed on top of an image",
        ),
        ({"model": {"path": "nope.pkl"}}, "model.path: there is no nope.pkl"),
        (
            {"environment": None},
            "environment: is missing: Azure provides one only for MLflow models without code_configuration",
        ),
        (
            {"environment": None, "code_configuration": None, "model": {"path": "code"}},
            "code_configuration: is missing, and so is environment: only a model with `type: mlflow_model` is served "
            "without both",
        ),
        (
            {"environment": None, "code_configuration": None, "model": {"path": "code", "type": "mlflow_model"}},
            "model.path: code is no MLflow model: it has no file MLmodel",
        ),
        ({"model": {"pth": "m.pkl"}}, "model.pth: unknown key, did you mean 'path'?"),
        (
            {"model": {"path": "conda.yaml", "type": "custm"}},
            "model.type: 'custm' is not allowed: write 'custom_model', 'mlflow_model' or 'triton_model'",
        ),
    ],
)
def test_a_fault_in_deployment_yml_is_named_with_its_field(
    folder: RolloutFolder, changes: dict[str, Any], problem: str
) -> None:
    folder.change(DEPLOYMENT, **changes)

    assert problems_of(folder) == [f"{DEPLOYMENT}: {problem}"]


@pytest.mark.parametrize("file", [ENDPOINT, DEPLOYMENT])
@pytest.mark.parametrize("name", ["rollway:run", "Rollway:owner"])
def test_tags_of_the_record_are_refused(folder: RolloutFolder, file: str, name: str) -> None:
    folder.change(file, tags={"team": "ml", name: "x"})

    assert problems_of(folder) == [
        f"{file}: tags.{name}: names that begin with 'rollway:' belong to Rollway's record: choose another name"
    ]


@pytest.mark.parametrize("file", [ENDPOINT, DEPLOYMENT])
def test_a_tag_value_has_at_most_256_characters(folder: RolloutFolder, file: str) -> None:
    folder.change(file, tags={"note": "x" * 256, "number": 10**255})
    load(folder)
    folder.change(file, tags={"note": "x" * 257, "number": 10**256})

    assert problems_of(folder) == [
        f"{file}: tags.note: has 257 characters, allowed are 256",
        f"{file}: tags.number: has 257 characters, allowed are 256",
    ]


@pytest.mark.parametrize("file", [ENDPOINT, DEPLOYMENT])
def test_the_tags_leave_room_for_the_record(folder: RolloutFolder, file: str) -> None:
    folder.change(file, tags={f"tag-{number}": "x" for number in range(13)})
    load(folder)
    folder.change(file, tags={f"tag-{number}": "x" for number in range(14)})

    assert problems_of(folder) == [
        f"{file}: tags: has 14 tags, allowed are 13: Rollway's record needs the rest of Azure's 50"
    ]


def test_all_problems_of_tags_come_at_once(folder: RolloutFolder) -> None:
    folder.change(ENDPOINT, tags={"rollway:run": "x" * 257, "note": "x" * 257})
    folder.change(DEPLOYMENT, tags={"rollway:model": 1})

    assert sorted(tuple(problem.split(": ")[:2]) for problem in problems_of(folder)) == [
        (DEPLOYMENT, "tags.rollway:model"),
        (ENDPOINT, "tags.note"),
        (ENDPOINT, "tags.rollway:run"),
        (ENDPOINT, "tags.rollway:run"),
    ]


@pytest.mark.parametrize("field", ["model", "environment"])
@pytest.mark.parametrize("reference", ["diabetes", "diabetes:1", MODEL_ID, "./model.pkl"])
def test_a_reference_without_its_prefix_is_explained(folder: RolloutFolder, field: str, reference: str) -> None:
    folder.change(DEPLOYMENT, **{field: reference})

    (problem,) = problems_of(folder)

    assert problem.startswith(
        f"{DEPLOYMENT}: {field}: {reference!r} is not a reference; write azureml:<name>:<version>"
    )
    assert "azureml:<ARM id>" in problem


def test_a_conda_file_that_is_not_yaml_is_shown_with_its_line(folder: RolloutFolder) -> None:
    folder.write("conda.yaml", "dependencies: [1\n")

    (problem,) = problems_of(folder)

    assert problem == (
        f"{DEPLOYMENT}: environment.conda_file: conda.yaml is not valid YAML: "
        "expected ',' or ']', but got '<stream end>' (line 2, column 1); close the bracket or quote before it, or "
        "check the indentation"
    )


@pytest.mark.parametrize(
    ("request_file", "text", "message"),
    [
        ("reqest.json", None, "there is no reqest.json, did you mean 'request.json'?"),
        ("request.json", "{", "request.json is not JSON: Expecting property name"),
        ("request.json", "", "request.json is not JSON: Expecting value"),
        ("request.json", '{"data": [NaN]}', "request.json is not JSON: NaN is not a JSON value"),
    ],
    ids=["missing", "cut off", "empty", "NaN"],
)
def test_the_request_of_the_smoke_test_is_checked(
    folder: RolloutFolder, request_file: str, text: str | None, message: str
) -> None:
    folder.change(ROLLOUT, smoke_test={"request_file": request_file})
    if text is not None:
        folder.write(request_file, text)

    (problem,) = problems_of(folder)

    assert problem.startswith(f"{ROLLOUT}: smoke_test.request_file: {message}")


def test_all_problems_of_all_files_come_at_once(folder: RolloutFolder) -> None:
    folder.write(ENDPOINT, "name: 9 lives\nauth_mode: kee\n")
    folder.change(
        DEPLOYMENT,
        instnce_type="x",
        instance_count=0,
        request_settings={"request_timeout_ms": 999_999, "max_queue": 1},
        liveness_probe={"perod": 1, "timeout": 0},
        code_configuration={"code": "code", "scoring_script": "scor.py"},
        model={"path": "nope"},
    )
    folder.change(ROLLOUT, smoke_tests={}, replaced="drop")

    problems = [tuple(problem.split(": ")[:2]) for problem in problems_of(folder)]

    assert sorted(problems) == [
        (DEPLOYMENT, "code_configuration.scoring_script"),
        (DEPLOYMENT, "instance_count"),
        (DEPLOYMENT, "instnce_type"),
        (DEPLOYMENT, "liveness_probe.perod"),
        (DEPLOYMENT, "liveness_probe.timeout"),
        (DEPLOYMENT, "model.path"),
        (DEPLOYMENT, "request_settings.max_queue"),
        (DEPLOYMENT, "request_settings.request_timeout_ms"),
        (ENDPOINT, "auth_mode"),
        (ENDPOINT, "name"),
        (ROLLOUT, "replaced"),
        (ROLLOUT, "smoke_tests"),
    ]


@pytest.mark.parametrize("model", [None, {"name": "diabetes", "path": "request.json"}])
def test_following_needs_a_model_by_reference(folder: RolloutFolder, model: dict[str, str] | None) -> None:
    folder.change(DEPLOYMENT, model=model)
    folder.change(ROLLOUT, follow={"stage": "Production"})

    assert problems_of(folder) == [
        "rollout.yml: follow: needs a model that deployment.yml names by reference, such as azureml:<name>@latest"
    ]


def test_an_invalid_deployment_file_is_no_problem_of_following(folder: RolloutFolder) -> None:
    folder.change(DEPLOYMENT, instance_count=0)
    folder.change(ROLLOUT, follow={"stage": "Production"})

    assert not [one for one in problems_of(folder) if "follow" in one]
