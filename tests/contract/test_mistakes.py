"""Mistakes that only Azure can notice: credentials, addresses, names, versions and sizes."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Model

from rollway.azure import session
from rollway.azure.session import Session
from tests.support.builders import RolloutFolder, good_folder
from tests.support.emulator_process import EmulatorProcess
from tests.support.mistakes import Mistake, answer_to, assert_explained

MODEL = "mistaken"
PLAN = "plan {folder}"
SECRET, SIGNED_IN = "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"
NOBODY = dict.fromkeys(("AZURE_TENANT_ID", "AZURE_CLIENT_ID", SECRET))
AWAY = "https://localhost:9/metadata/endpoints?api-version=2019-05-01"


def named(model: str) -> Mapping[str, Mapping[str, str]]:
    """Change of deployment.yml."""
    return {"deployment.yml": {"model": model}}


MISTAKES = [
    Mistake("used a wrong secret", PLAN, "AADSTS7000215", "rollway/local", SECRET, variables={SECRET: "wrong"}),
    Mistake("used an empty secret", PLAN, "cannot be used", SECRET, "set all three", variables={SECRET: ""}),
    Mistake("did not sign in", PLAN, "EnvironmentCredential", "rollway/local", SIGNED_IN, variables=NOBODY),
    Mistake(
        "has no role",
        PLAN,
        "AuthorizationFailed",
        "rollway/local",
        "the role 'AzureML Data Scientist'",
        variables={"AZURE_CLIENT_ID": "stranger", SECRET: "stranger-secret"},
    ),
    Mistake(
        "misspelt the workspace",
        PLAN,
        "'lokal'",
        "rollway/lokal",
        "check AZURE_SUBSCRIPTION_ID",
        variables={"AZUREML_WORKSPACE": "lokal"},
    ),
    Mistake(
        "misspelt the resource group",
        PLAN,
        "cannot reach the Azure ML workspace",
        "rollwai/local",
        "check AZURE_",
        variables={"AZURE_RESOURCE_GROUP": "rollwai"},
    ),
    Mistake(
        "pointed at no cloud",
        PLAN,
        "cannot be re",
        "ARM_CLOUD_METADATA_URL",
        "check",
        exit_code=1,
        variables={"ARM_CLOUD_METADATA_URL": AWAY},
    ),
    Mistake(
        "misspelt the model", PLAN, "no model 'mistakn'", "mistakn", MODEL, changes=named("azureml:mistakn@latest")
    ),
    Mistake(
        "named a missing version",
        PLAN,
        f"no model {MODEL}:99",
        MODEL,
        "versions 1",
        changes=named(f"azureml:{MODEL}:99"),
    ),
    Mistake(
        "asked for a missing version", f"{PLAN} --model-version 77", f"no model {MODEL}:77", f"{MODEL}:77", "versions 1"
    ),
    Mistake(
        "gave an order to nobody", "hold nobody-serves", "no endpoint 'nobody-serves'", "workspace", "rollway status"
    ),
]


@pytest.fixture(scope="module")
def registered(client: MLClient, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Version 1 of the model is there."""
    path = tmp_path_factory.mktemp("model") / "model.txt"
    path.write_text("a model")
    client.models.create_or_update(Model(name=MODEL, version="1", path=str(path)))


@pytest.fixture
def folder(tmp_path: Path, registered: None) -> RolloutFolder:
    """A folder for a registered model."""
    folder = good_folder(tmp_path)
    folder.change("deployment.yml", model=f"azureml:{MODEL}@latest")
    return folder


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_that_azure_notices_is_explained(
    mistake: Mistake,
    folder: RolloutFolder,
    emulator: EmulatorProcess,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(session, "_cached", Session)  # each person signs in anew
    monkeypatch.setenv("AZURE_CLIENT_ID", "contributor")
    monkeypatch.setenv(SECRET, "contributor-secret")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    monkeypatch.setenv("ROLLWAY_DEBUG", "")
    mistake.prepare(folder, monkeypatch)

    assert_explained(mistake, answer_to(mistake.arguments(folder.path), capsys))
