"""Settings from environment variables: workspace, folder, lease, webhook secret."""

from collections.abc import Callable

import pytest

from rollway.errors import ConfigurationError
from rollway.settings import (
    MIN_SECRET_LENGTH,
    deployments_folder,
    is_debug,
    lease_seconds,
    prefect_seconds,
    webhook_secret,
    workspace_from_environment,
)

NAMES = ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZUREML_WORKSPACE")
NAMES_ON_COMPUTE = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")


@pytest.mark.parametrize("names", [NAMES, NAMES_ON_COMPUTE], ids=["ours", "Azure ML compute"])
def test_the_workspace_is_read_from_either_set_of_names(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, str, str]
) -> None:
    for name, value in zip(names, ("sub", "rg", "ws"), strict=True):
        monkeypatch.setenv(name, value)

    workspace = workspace_from_environment()

    assert str(workspace) == "rg/ws (subscription sub)"


def test_our_names_win_over_those_of_the_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, *NAMES_ON_COMPUTE):
        monkeypatch.setenv(name, name)

    assert workspace_from_environment().name == "AZUREML_WORKSPACE"


def test_all_missing_variables_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        workspace_from_environment()

    assert str(caught.value).startswith("no Azure ML workspace is configured\n")
    assert all(name in str(caught.value) for name in NAMES)
    assert "rollway emulator up" in str(caught.value)


def test_an_empty_variable_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES[:2]:
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AZUREML_WORKSPACE", "")

    with pytest.raises(ConfigurationError) as caught:
        workspace_from_environment()

    assert caught.value.where == "environment variables AZUREML_WORKSPACE"


@pytest.mark.parametrize(
    ("read", "variable", "value", "seconds"),
    [
        (lease_seconds, "ROLLWAY_LEASE_SECONDS", None, 300),
        (lease_seconds, "ROLLWAY_LEASE_SECONDS", "1", 1),
        (lease_seconds, "ROLLWAY_LEASE_SECONDS", "3600", 3600),
        (prefect_seconds, "ROLLWAY_PREFECT_SECONDS", None, 10),
        (prefect_seconds, "ROLLWAY_PREFECT_SECONDS", "240", 240),
    ],
)
def test_a_time_is_as_long_as_its_variable_says_or_its_default(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], int], variable: str, value: str | None, seconds: int
) -> None:
    if value is not None:
        monkeypatch.setenv(variable, value)

    assert read() == seconds


@pytest.mark.parametrize("value", ["0", "-5", "1.5", "", "five", "²"])
def test_anything_but_a_whole_number_of_seconds_is_no_lease_time(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ROLLWAY_LEASE_SECONDS", value)

    with pytest.raises(ConfigurationError) as caught:
        lease_seconds()

    assert str(caught.value) == (
        f"{value!r} is not a lease time\n"
        "  where: environment variable ROLLWAY_LEASE_SECONDS\n"
        "  try: set a whole number of seconds, at least 1, or unset it for 300"
    )


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_a_variable_switches_debug_on(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("ROLLWAY_DEBUG", value)

    assert is_debug() is expected


def test_the_webhook_secret_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLWAY_WEBHOOK_SECRET", "s" * MIN_SECRET_LENGTH)

    assert webhook_secret() == "s" * MIN_SECRET_LENGTH


@pytest.mark.parametrize(
    ("secret", "why"), [("", "it is not set"), ("s" * (MIN_SECRET_LENGTH - 1), "it has fewer than 16 characters")]
)
def test_a_webhook_secret_that_is_missing_or_too_short_is_refused(
    monkeypatch: pytest.MonkeyPatch, secret: str, why: str
) -> None:
    monkeypatch.setenv("ROLLWAY_WEBHOOK_SECRET", secret)

    with pytest.raises(ConfigurationError) as caught:
        webhook_secret()

    assert "environment variable ROLLWAY_WEBHOOK_SECRET" in str(caught.value)
    assert caught.value.why == why


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "deployments"), ("", "deployments"), ("/srv/rollouts/", "/srv/rollouts")]
)
def test_a_variable_changes_the_folder_of_all_rollouts(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: str
) -> None:
    if value is not None:
        monkeypatch.setenv("ROLLWAY_DEPLOYMENTS", value)

    assert deployments_folder() == expected
