"""The generator of the fault and kill matrices."""

import re

from tests.support.calls import Call, calls_of, pattern_of

WORKSPACE = (
    "/subscriptions/3f1d2c4b-0000-4000-8000-123456789abc/resourceGroups/rollway/providers"
    "/Microsoft.MachineLearningServices/workspaces/local"
)
TENANT = "/9c1d2c4b-1111-4000-8000-123456789abc"


def noted(method: str, path: str) -> dict[str, str]:
    return {"method": method, "path": path}


def test_a_pattern_matches_other_names_and_no_other_kind_of_path() -> None:
    pattern = pattern_of(f"{WORKSPACE}/onlineEndpoints/churn/deployments/main-1234abcd")

    assert re.search(pattern, f"{WORKSPACE}/onlineEndpoints/other/deployments/blue")
    assert not re.search(pattern, f"{WORKSPACE}/onlineEndpoints/other/deployments")
    assert not re.search(pattern, f"{WORKSPACE}/onlineEndpoints/other/deployments/blue/getLogs")


def test_the_tenant_is_left_open() -> None:
    assert re.search(
        pattern_of(f"{TENANT}/oauth2/v2.0/token"), "/7c1d2c4b-1111-4000-8000-123456789abc/oauth2/v2.0/token"
    )


def test_models_and_code_in_storage_are_different_calls() -> None:
    model, code = "/blob/store/azureml-blobstore-17/LocalUpload/4f/model.txt", "/blob/store/17-4f/code/score.py"

    assert re.search(pattern_of(model), "/blob/store/azureml-blobstore-18/LocalUpload/5f/other.txt")
    assert not re.search(pattern_of(model), code)
    assert not re.search(pattern_of(code), model)


def test_each_look_at_the_evidence_is_a_call() -> None:
    metrics = noted("GET", f"{WORKSPACE}/onlineEndpoints/churn/providers/Microsoft.Insights/metrics")

    found = calls_of([metrics, metrics])

    assert [(one.is_look, one.occurrence) for one in found] == [(True, 1), (True, 2)]


def test_of_reads_the_first_and_of_writes_every_one_is_a_call() -> None:
    endpoint = f"{WORKSPACE}/onlineEndpoints/churn"
    requests = [
        noted("GET", endpoint),
        noted("PATCH", endpoint),
        noted("GET", endpoint),
        noted("POST", f"{endpoint}/listKeys"),
        noted("PATCH", endpoint),
        noted("POST", f"{endpoint}/listKeys"),
    ]

    calls = calls_of(requests)

    assert [str(call) for call in calls] == [
        "GET …/onlineEndpoints/* #1",
        "PATCH …/onlineEndpoints/* #1",
        "POST …/onlineEndpoints/*/listKeys #1",
        "PATCH …/onlineEndpoints/* #2",
    ]
    assert [call.is_write for call in calls] == [False, True, False, True]


def test_scoring_changes_nothing() -> None:
    assert not Call("POST", pattern_of("/inference/westeurope/churn/score"), 1).is_write
