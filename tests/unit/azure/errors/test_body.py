"""Azure's error bodies in all their shapes: code, message, and the whole error as a tree."""

import json
from typing import Any

import pytest

from rollway.azure.errors.body import ErrorBody

VALIDATION = json.dumps(
    {
        "errors": {"VmSize": ["Not enough quota."], "Name": ["Too long.", "Too odd."]},
        "title": "One or more validation errors occurred.",
    }
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"code": None, "message": "OutOfQuota: too small"}, ("OutOfQuota", "too small")),
        ({"code": "BadArgument", "message": "no: prefix here"}, ("BadArgument", "no: prefix here")),
        ({"code": None, "message": "no prefix"}, (None, "no prefix")),
        ({"message": None, "details": None}, (None, "")),
        ({}, (None, "")),
        ({"code": "A", "message": "b", "details": [{"message": "not JSON"}, {"message": "[]"}]}, ("A", "b")),
        ({"code": "A", "message": "b", "details": [{"message": '{"errors": {}}'}]}, ("A", "b")),
        ({"code": "A", "message": "b", "details": ["text", None]}, ("A", "b")),
        (
            {"code": "A", "message": "b", "details": [{"message": VALIDATION}]},
            ("A", "VmSize: Not enough quota.; Name: Too long.; Name: Too odd."),
        ),
    ],
)
def test_code_and_message_are_found_wherever_the_service_put_them(
    body: dict[str, Any], expected: tuple[str | None, str]
) -> None:
    found = ErrorBody.parse(body)

    assert (found.code, found.message) == expected


def test_the_tree_shows_every_level_with_validation_errors_unfolded() -> None:
    inner = json.dumps({"error": {"code": "KubernetesUnaccessible", "message": "InvalidCertificate"}})
    body = {
        "code": "BadRequest",
        "message": "The request is invalid.",
        "target": "deployment",
        "details": [
            {"code": "InferencingClientCallFailed", "message": VALIDATION},
            {"code": "Relay", "message": inner, "details": [{"code": None, "message": "two\nlines"}]},
        ],
        "additionalInfo": [
            {"type": "ComponentName", "info": {"value": "managementfrontend"}},
            {"type": "Correlation", "info": {"value": {"operation": "0af7", "request": "00f0"}}},
        ],
    }

    found = ErrorBody.parse(body)

    assert found.tree.splitlines() == [
        "BadRequest: The request is invalid. (target: deployment)",
        "  InferencingClientCallFailed: One or more validation errors occurred.",
        "    VmSize: Not enough quota.",
        "    Name: Too long.",
        "    Name: Too odd.",
        "  Relay",
        "    KubernetesUnaccessible: InvalidCertificate",
        "    two",
        "    lines",
        "  ComponentName: managementfrontend",
        "  Correlation: operation 0af7, request 00f0",
    ]
    assert found.inner_codes == ("InferencingClientCallFailed", "Relay")
    assert found.correlation_id == "0af7"


def test_an_empty_error_still_has_a_tree() -> None:
    assert ErrorBody.parse({}).tree == "(no code, no message)"
    assert ErrorBody.parse({}).correlation_id is None


def test_a_secret_in_azures_text_is_masked() -> None:
    url = "https://a.blob.example/m?sig=very%2Fsecret"

    found = ErrorBody.parse({"code": "A", "message": f"cannot read {url}", "details": [{"code": "B", "message": url}]})

    assert "very" not in found.model_dump_json()
    assert found.message == "cannot read https://a.blob.example/m?sig=***"


def test_deeply_nested_details_are_cut() -> None:
    body: dict[str, Any] = {"code": "Deepest", "message": "x"}
    for level in range(50):
        body = {"code": f"Level{level}", "message": "x", "details": [body]}

    assert len(ErrorBody.parse(body).tree.splitlines()) == 9
