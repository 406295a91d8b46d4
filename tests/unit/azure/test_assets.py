"""Models and environments: name and version come from the id, and a dry run registers nothing."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rollway.azure.assets import register_environment, resolve_model
from rollway.azure.folder import load_folder
from rollway.azure.session import Session
from rollway.errors import RequestRefused
from rollway.rollout.state import ResolvedAsset
from tests.support.builders import WORKSPACE_ID, RolloutFolder
from tests.support.fake_assets import FakeEnvironments
from tests.support.fake_azure import not_found_once, run

DEPLOYMENT = "deployment.yml"
NAMELESS: dict[str, Any] = {"image": "mcr.microsoft.com/base", "conda_file": "conda.yaml"}
NAMED: dict[str, Any] = {"name": "inference", **NAMELESS}


@pytest.fixture
def azure() -> FakeEnvironments:
    """A workspace without environments."""
    return FakeEnvironments()


@pytest.fixture
def register(azure: FakeEnvironments, folder: RolloutFolder) -> Callable[..., ResolvedAsset]:
    """Registers the environment of a deployment.yml that was just changed to it."""

    def registered(environment: Any, *, is_dry_run: bool = False) -> ResolvedAsset:
        folder.change(DEPLOYMENT, environment=environment)
        spec = load_folder(str(folder.path))
        found = run(register_environment(azure.session, spec, is_dry_run=is_dry_run))
        assert found is not None
        return found

    return registered


@pytest.mark.parametrize(
    "environment",
    [NAMED, NAMELESS, {"image": "mcr.microsoft.com/base"}, {**NAMED, "version": "7"}],
    ids=["a name", "no name", "only an image", "a version"],
)
def test_every_reading_of_an_environment_gives_what_its_id_says(
    azure: FakeEnvironments, register: Callable[..., ResolvedAsset], environment: Any
) -> None:
    created = register(environment)
    again = register(environment)
    planned = register(environment, is_dry_run=True)

    assert created.is_new
    assert not again.is_new
    assert again == planned == created.model_copy(update={"is_new": False})
    assert created.id == f"{WORKSPACE_ID}/environments/{created.name}/versions/{created.version}"
    assert azure.writes == 1


@pytest.mark.parametrize(("environment", "call"), [(NAMED, "list"), ({**NAMED, "version": "7"}, "get")])
def test_a_single_404_does_not_register_an_environment_again(
    azure: FakeEnvironments,
    register: Callable[..., ResolvedAsset],
    monkeypatch: pytest.MonkeyPatch,
    environment: Any,
    call: str,
) -> None:
    created = register(environment)
    monkeypatch.setattr(azure, call, not_found_once(getattr(azure, call)))

    assert (register(environment).id, azure.writes) == (created.id, 1)


ROUTES = {f"{kind}_route": {"port": 8501, "path": "/"} for kind in ("liveness", "readiness", "scoring")}


def test_a_custom_container_is_registered_once_and_again_with_other_routes(
    azure: FakeEnvironments, register: Callable[..., ResolvedAsset]
) -> None:
    custom = {"name": "custom", "image": "my.azurecr.io/x:1", "inference_config": ROUTES}
    first, again = register(custom), register(custom)
    other = register({**custom, "inference_config": {**ROUTES, "scoring_route": {"port": 8501, "path": "/predict"}}})

    assert (first.is_new, again.is_new, other.is_new) == (True, False, True)
    assert first.id == again.id != other.id
    assert azure.writes == 2


def test_a_custom_container_with_a_version_and_other_routes_is_refused(register: Callable[..., ResolvedAsset]) -> None:
    custom = {"name": "custom", "version": "1", "image": "my.azurecr.io/x:1"}
    register({**custom, "inference_config": ROUTES})

    with pytest.raises(RequestRefused, match="the environment custom:1 exists with other content"):
        register(custom)


def test_an_environment_that_azure_keeps_as_json_is_the_one_in_the_conda_file(
    folder: RolloutFolder, register: Callable[..., ResolvedAsset]
) -> None:
    folder.write("conda.yaml", 'variables: {BUILT: 2026-11-30, TEXT: "2026-11-30", WANTED: yes}\ndependencies: [pip]\n')

    first, again = register(NAMED), register(NAMED)

    assert (first.is_new, again.is_new, again.id) == (True, False, first.id)


def test_the_sdk_itself_names_an_anonymous_environment_otherwise_when_it_reads_it(
    azure: FakeEnvironments, register: Callable[..., ResolvedAsset]
) -> None:
    created = register(NAMELESS)

    assert azure.list(created.name)[0].version != created.version


def test_other_packages_are_another_anonymous_environment(
    folder: RolloutFolder, register: Callable[..., ResolvedAsset]
) -> None:
    first = register(NAMELESS)
    folder.write("conda.yaml", "dependencies: [python=3.12]\n")

    second = register(NAMELESS)

    assert second.is_new
    assert second.id != first.id


@pytest.mark.parametrize("environment", [NAMED, NAMELESS], ids=["a name", "no name"])
def test_before_the_first_registration_a_dry_run_knows_no_id(
    azure: FakeEnvironments, register: Callable[..., ResolvedAsset], environment: Any
) -> None:
    planned = register(environment, is_dry_run=True)

    assert (planned.id, planned.is_new) == (None, True)
    assert azure.writes == 0


def test_a_version_with_other_content_is_refused(register: Callable[..., ResolvedAsset]) -> None:
    register({**NAMED, "version": "7"})

    with pytest.raises(RequestRefused) as caught:
        register({**NAMED, "version": "7", "image": "other"})

    assert caught.value.what == "the environment inference:7 exists with other content"
    assert caught.value.where == f"{WORKSPACE_ID}/environments/inference/versions/7"


def test_a_reference_gives_what_its_id_says(azure: FakeEnvironments, register: Callable[..., ResolvedAsset]) -> None:
    created = register(NAMELESS)

    found = register(f"azureml:{created.name}:{created.version}")

    assert found == created.model_copy(update={"is_new": False})


@pytest.mark.parametrize(
    ("written", "asset_id", "text"),
    [
        (f"azureml:{WORKSPACE_ID}/environments/a/versions/3", f"{WORKSPACE_ID}/environments/a/versions/3", "a:3"),
        (*("azureml://registries/shared/environments/a/versions/4",) * 2, "a:4"),
        (*("azureml://registries/shared/environments/a/labels/latest",) * 2, "a:latest"),
    ],
    ids=["ARM id", "registry", "label of a registry"],
)
def test_a_full_id_is_taken_as_it_is(
    register: Callable[..., ResolvedAsset], written: str, asset_id: str, text: str
) -> None:
    found = register(written)

    assert (found.id, str(found)) == (asset_id, text)


def test_a_chosen_version_replaces_the_one_of_an_id(folder: RolloutFolder) -> None:
    folder.change(DEPLOYMENT, model=f"azureml:{WORKSPACE_ID}/models/diabetes/versions/3")
    spec = load_folder(str(folder.path))
    session = cast(Session, SimpleNamespace(ml=SimpleNamespace(models=None)))

    found = run(resolve_model(session, spec, "2"))

    assert found == ResolvedAsset(id=f"{WORKSPACE_ID}/models/diabetes/versions/2", name="diabetes", version="2")
