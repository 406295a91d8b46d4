"""Limits of tags, on endpoints and online deployments."""

from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint
from azure.core.exceptions import HttpResponseError

from tests.contract.conftest import Arm, Served, error_of

MOST = {f"tag-{number}": "x" for number in range(50)}
LARGEST = {"n" * 512: "v" * 256}
REFUSED = [
    (
        {**MOST, "one-more": "x"},
        "InvalidTags",
        "Too many tags specified. Requested tag count - '51'. Maximum number of tags allowed - '50'.",
    ),
    ({"n" * 513: "x"}, "InvalidTagNameLength", "Maximum allowed length for tag name - '512' characters."),
    ({"long": "v" * 257}, "InvalidTagValueLength", "Maximum allowed length for tag value - '256' characters."),
]
ENDPOINT = {"location": "westeurope", "properties": {"authMode": "Key"}}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("path", ["", "/deployments/blue"])
@pytest.mark.parametrize(("tags", "code", "text"), REFUSED)
def test_tags_beyond_their_limits_are_refused_by_arm(
    arm: Arm, served: Served, method: str, path: str, tags: dict[str, str], code: str, text: str
) -> None:
    answer = arm.send(method, f"/onlineEndpoints/{served.name}{path}", {**ENDPOINT, "tags": tags})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, code)
    assert error["message"].endswith(text)
    assert set(error) == {"code", "message"}, "the error is ARM's own, not Azure ML's"


@pytest.mark.parametrize("tags", [MOST, LARGEST])
def test_tags_at_their_limits_are_kept(arm: Arm, name: str, tags: dict[str, str]) -> None:
    arm.send("PUT", f"/onlineEndpoints/{name}", {**ENDPOINT, "tags": tags}).raise_for_status()

    assert arm.send("GET", f"/onlineEndpoints/{name}").json()["tags"] == tags


def test_a_patch_counts_the_tags_that_are_there(arm: Arm, name: str) -> None:
    arm.send("PUT", f"/onlineEndpoints/{name}", {**ENDPOINT, "tags": MOST}).raise_for_status()

    def patch(tags: dict[str, Any]) -> tuple[int, str]:
        answer = arm.send("PATCH", f"/onlineEndpoints/{name}", {"tags": tags})
        return answer.status_code, answer.json()["error"]["code"] if answer.content else ""

    assert patch({"one-more": "x"}) == (400, "InvalidTags")
    assert patch({"one-more": "x", "tag-0": None}) == (202, "")


def test_the_sdk_raises_the_limit_of_tags(client: MLClient, name: str) -> None:
    wanted = ManagedOnlineEndpoint(name=name, auth_mode="key", tags={"record": "v" * 257})

    with pytest.raises(HttpResponseError) as caught:
        client.online_endpoints.begin_create_or_update(wanted)

    assert (caught.value.status_code, error_of(caught.value).code) == (400, "InvalidTagValueLength")
