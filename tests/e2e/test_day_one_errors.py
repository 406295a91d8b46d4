"""Errors that people meet on their first day: clear, without a traceback, and with Azure left as it was."""

import subprocess
from pathlib import Path

import pytest

from tests.support.world import FIXTURES, Rollout, World

Before = tuple[dict[str, int] | None, list[str]]  # traffic and online deployments


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *texts: str) -> None:
    """The exit code, every text on stderr, an empty stdout, and none of our own tracebacks."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    for text in texts:
        assert text in done.stderr
    ours = done.stderr.partition("--- log of the")[0]  # a container's own traceback is what people want to see
    assert "Traceback (most recent call last)" not in ours, done.stderr


def assert_untouched(world: World, live: tuple[str, Rollout], traffic: dict[str, int] | None, names: list[str]) -> None:
    assert world.rest.traffic(live[0]) == traffic
    assert world.rest.online_deployments(live[0]) == names
    assert world.rest.score(live[0], {"data": [[1.0]]}).json()["answer"] == 42


def aimed_at(world: World, live: tuple[str, Rollout], fixture: str = "good", **online_deployment: object) -> Rollout:
    """A changed rollout of the endpoint that serves."""
    rollout = world.make_rollout(fixture, **online_deployment)
    rollout.endpoint = live[1].endpoint
    rollout.online_deployment["endpoint_name"] = live[0]
    return rollout


@pytest.fixture
def before(world: World, live: tuple[str, Rollout]) -> Before:
    """Traffic and online deployments of the endpoint that serves."""
    return world.rest.traffic(live[0]), world.rest.online_deployments(live[0])


@pytest.mark.parametrize(
    ("settings", "texts"),
    [
        (
            {"AZURE_CLIENT_SECRET": "wrong"},
            ("AADSTS7000215", "try: the client secret is wrong: check AZURE_CLIENT_SECRET"),
        ),
        (
            {"AZURE_CLIENT_SECRET": ""},
            ("the credentials in the environment cannot be used", "AZURE_CLIENT_SECRET"),
        ),
        (
            {"AZURE_TENANT_ID": None, "AZURE_CLIENT_ID": None, "AZURE_CLIENT_SECRET": None},
            ("EnvironmentCredential", "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"),
        ),
        (
            {"AZUREML_WORKSPACE": "nowhere"},
            ("cannot reach the Azure ML workspace 'nowhere'", "check AZURE_SUBSCRIPTION_ID"),
        ),
        ({"AZUREML_WORKSPACE": ""}, ("no Azure ML workspace is configured", "AZUREML_WORKSPACE")),
    ],
    ids=["wrong secret", "empty secret", "no credentials", "unknown workspace", "no workspace named"],
)
def test_who_and_where(
    world: World, live: tuple[str, Rollout], before: Before, settings: dict[str, str | None], texts: tuple[str, ...]
) -> None:
    done = world.deploy(aimed_at(world, live), **settings)

    assert_refused(done, 2, *texts)
    assert_untouched(world, live, *before)


def test_no_access_to_the_workspace(world: World, live: tuple[str, Rollout], before: Before) -> None:
    done = world.deploy(aimed_at(world, live), AZURE_CLIENT_ID="visitor", AZURE_CLIENT_SECRET="visitor-secret")

    assert_refused(done, 2, "AuthorizationFailed", "AzureML Data Scientist")
    assert_untouched(world, live, *before)


def test_cloud_that_cannot_be_reached(world: World, live: tuple[str, Rollout]) -> None:
    done = world.deploy(aimed_at(world, live), ARM_CLOUD_METADATA_URL="https://localhost:1/metadata/endpoints")

    assert_refused(done, 1, "the cloud that the environment names cannot be reached", "rollway emulator up")


@pytest.mark.parametrize(
    ("model", "texts"),
    [
        ("azureml:no-such-model@latest", ("there is no model 'no-such-model'", "the workspace has")),
        ("azureml:{name}:99", ("there is no model {name}:99", "it has the versions 1")),
    ],
    ids=["name", "version"],
)
def test_unknown_model_or_version(
    world: World, live: tuple[str, Rollout], before: Before, model: str, texts: tuple[str, ...]
) -> None:
    rollout = world.make_rollout(model=model.format(name=live[0]))

    done = world.deploy(rollout)

    assert_refused(done, 2, *[text.format(name=live[0]) for text in texts])
    assert_untouched(world, live, *before)
    assert world.rest.online_deployments(rollout.name) == [], "the endpoint was made side by side, and stays empty"


def test_all_problems_of_the_files_at_once(world: World, live: tuple[str, Rollout], before: Before) -> None:
    rollout = aimed_at(world, live, instance_count=0, instnce_type="Standard_DS3_v2")
    rollout.endpoint = {"name": "9 lives"}
    rollout.rollout["smoke_tests"] = {}

    done = world.deploy(rollout)

    assert_refused(
        done,
        2,
        "endpoint.yml: name: '9 lives' is not a valid name",
        "deployment.yml: instance_count: 0 is out of range, allowed is 1 to 50",
        "deployment.yml: instnce_type: unknown key, did you mean 'instance_type'?",
        "rollout.yml: smoke_tests: unknown key, did you mean 'smoke_test'?",
    )
    assert_untouched(world, live, *before)


def test_missing_and_malformed_files(world: World, live: tuple[str, Rollout], before: Before) -> None:
    rollout = aimed_at(world, live)
    folder = Path(rollout.write())
    (folder / "endpoint.yml").unlink()
    (folder / "deployment.yml").write_text("name: main\nmodel: [unclosed\n")

    done = world.rollway("deploy", str(folder))

    assert_refused(
        done,
        2,
        f"{folder}/endpoint.yml: the file is missing",
        f"{folder}/deployment.yml: is not valid YAML: expected ',' or ']'",
        "(line 3, column 1)",
    )
    assert_untouched(world, live, *before)


def test_scoring_script_is_missing(world: World, live: tuple[str, Rollout], before: Before) -> None:
    code = {"code": str(FIXTURES / "good"), "scoring_script": "scor.py"}

    done = world.deploy(aimed_at(world, live, code_configuration=code))

    assert_refused(done, 2, "code_configuration.scoring_script: there is no scor.py", "did you mean 'score.py'?")
    assert_untouched(world, live, *before)


def test_endpoint_name_is_taken(world: World) -> None:
    rollout = world.make_rollout()
    rollout.endpoint["name"] = rollout.online_deployment["endpoint_name"] = "taken"

    done = world.deploy(rollout)

    assert_refused(done, 2, "cannot create the endpoint 'taken'", "choose another name in endpoint.yml")


def test_environment_that_cannot_be_built(world: World, live: tuple[str, Rollout], before: Before) -> None:
    environment = {
        "image": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
        "conda_file": str(FIXTURES / "broken_conda.yaml"),
    }

    done = world.deploy(aimed_at(world, live, environment=environment))

    assert_refused(done, 3, "ImageBuildFailure", "rollway-package-that-does-not-exist")
    assert_untouched(world, live, *before)


def test_init_that_raises_shows_the_containers_own_traceback(
    world: World, live: tuple[str, Rollout], before: Before
) -> None:
    done = world.deploy(aimed_at(world, live, "broken_init"))

    assert_refused(done, 3, "ResourceNotReady", "RuntimeError: broken_init: the weights are from another planet")
    assert_untouched(world, live, *before)


@pytest.mark.parametrize(
    ("fixture", "expect", "texts"),
    [
        ("raises", {}, ("status 424 instead of 200", "ValueError: raises: this request cannot be scored")),
        ("wrong_output", {"body": {"required": ["answer"]}}, ("'answer' is a required property",)),
        ("slow", {"max_latency_seconds": 0.5}, ("allowed are 0.5 s",)),
    ],
    ids=["not 200", "wrong content", "too slow"],
)
def test_smoke_test_that_fails_moves_no_traffic(
    world: World,
    live: tuple[str, Rollout],
    before: Before,
    fixture: str,
    expect: dict[str, object],
    texts: tuple[str, ...],
) -> None:
    rollout = aimed_at(world, live, fixture)
    rollout.rollout["smoke_test"]["expect"] |= expect
    last = world.rest.last_request()

    done = world.deploy(rollout)

    assert_refused(done, 3, "the smoke test of 'main-", *texts)
    assert_untouched(world, live, *before)
    writes = world.rest.writes(to=f"onlineEndpoints/{live[0]}", after=last)
    puts = [write for write in writes if write.startswith("PUT")]
    assert all("/deployments/" in write for write in puts), "the endpoint, and so its traffic, was never written"


def test_a_gateway_that_fails_says_nothing_about_the_model(world: World) -> None:
    rollout = world.make_rollout()
    usual = rollout.rollout["smoke_test"]
    rollout.rollout["smoke_test"] = {**usual, "warm_up_seconds": 5}
    world.rest.fault(path=f"/{rollout.name}/score$", status=503, count=None)

    done = world.deploy(rollout)
    left = world.rest.online_deployments(rollout.name)
    world.rest.clear_faults()
    rollout.rollout["smoke_test"] = usual
    again = world.deploy(rollout)

    assert_refused(done, 3, "could not be measured: status 503 instead of 200: an error of Azure, not of the model")
    assert len(left) == 1, "it may be good"
    assert again.returncode == 0, again.stderr
    assert world.rest.online_deployments(rollout.name) == left, "the next rollout continues with it"


def test_first_rollout_that_fails_leaves_an_empty_endpoint_that_the_next_one_uses(world: World) -> None:
    rollout = world.make_rollout("broken_init")

    done = world.deploy(rollout)
    left = world.rest.online_deployments(rollout.name)
    rollout.online_deployment["code_configuration"]["code"] = str(FIXTURES / "good")
    again = world.deploy(rollout)

    assert_refused(done, 3, "did not become ready")
    assert left == [], "what failed is deleted after its logs were saved"
    assert again.returncode == 0, again.stderr


def test_what_failed_is_kept_when_the_folder_says_so(world: World) -> None:
    rollout = world.make_rollout("broken_init")
    rollout.rollout["failed"] = "keep"

    done = world.deploy(rollout)
    left = world.rest.online_deployments(rollout.name)
    rollout.online_deployment["code_configuration"]["code"] = str(FIXTURES / "good")
    again = world.deploy(rollout)

    assert_refused(done, 3, "did not become ready")
    assert len(left) == 1
    assert again.returncode == 0, again.stderr
    assert left[0] not in world.rest.online_deployments(rollout.name), "the next rollout removes it"
