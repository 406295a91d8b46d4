"""The smoke test of rollout.yml: its forms, its faults, and what nothing shows of it."""

from typing import Any

import pytest
import yaml

from rollway.spec import (
    Expectation,
    RolloutFile,
    ScoringRequest,
    SmokeTest,
    SmokeTests,
    check_smoke_test,
    is_json,
    parse_rollout_file,
    with_boundary,
)

SECRET = "hunter2-correct-horse"
TWO = [{"name": "a", "request_file": "a"}, {"name": "b", "request_file": "b"}]


def parsed(smoke_test: object) -> RolloutFile:
    found = parse_rollout_file({"smoke_test": smoke_test}, "rollout.yml")
    assert isinstance(found, RolloutFile), found
    return found


def problems_of(smoke_test: object) -> list[str]:
    found = parse_rollout_file({"smoke_test": smoke_test}, "rollout.yml")
    assert isinstance(found, list), found
    return [str(problem).removeprefix("rollout.yml: smoke_test") for problem in found]


def one(**values: object) -> dict[str, object]:
    return {"request_file": "r", **values}


def test_the_short_form_is_one_request_of_json() -> None:
    test = parsed(one()).smoke_test

    assert isinstance(test, SmokeTest)
    assert (test.content_type, test.headers, test.route, test.expect) == ("application/json", {}, None, Expectation())
    assert [(field, name) for field, name, _ in test.all] == [("smoke_test", "")]


def test_several_requests_have_names_and_places() -> None:
    test = parsed({"requests": TWO, "warm_up_seconds": 5}).smoke_test

    assert isinstance(test, SmokeTests)
    assert [(field, name, each.request_file) for field, name, each in test.all] == [
        ("smoke_test.requests.0", "a", "a"),
        ("smoke_test.requests.1", "b", "b"),
    ]


def test_no_smoke_test_must_be_said() -> None:
    assert parsed(yaml.safe_load("none")).smoke_test == "none"
    assert problems_of(None) == [": nothing is not a mapping of keys and values"]
    for other in ("None", "no", ""):
        assert problems_of(other) == [": is neither a request nor none"]


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        (one(request_fle="x"), ".request_fle: unknown key, did you mean 'request_file'?"),
        (one(name="x"), ".name: unknown key"),
        ({"requests": []}, ".requests: has 0 requests, allowed are 1 to 20"),
        ({"requests": TWO, "warm_up": 1}, ".warm_up: unknown key, did you mean 'warm_up_seconds'?"),
        ({"requests": TWO, "expect": {}}, ".expect: belongs to each of the requests, not beside them"),
        ({"requests": [one()]}, ".requests.0.name: is missing: its name in reports"),
        ({"requests": [{**TWO[0], "rout": "/"}]}, ".requests.0.rout: unknown key, did you mean 'route'?"),
        ({"requests": [TWO[0], one(name="/")]}, ".requests.1.name: '/' is not a name: at most 40 letters"),
        ({"requests": [*TWO, TWO[0]]}, ".requests.2.name: another request has the name 'a'"),
        (one(route="score"), ".route: 'score' does not start with '/'"),
        (one(route="//other.example/x"), ".route: '//other.example/x' is not a path: percent-encode it"),
        (one(route="/a/../b"), ".route: '/a/../b' is not a path"),
        (one(route="/a#b"), ".route: '/a#b' is not a path"),
        (one(route="/a b"), ".route: '/a b' is not a path"),
        (one(content_type="json"), ".content_type: 'json' is not a content type, such as text/csv"),
        (one(content_type="text/plain\r\nX-A: 1"), ".content_type: 'text/plain\\r\\nX-A: 1' is not"),
        (one(expect={"content_type": "image"}), ".expect.content_type: 'image' is not a media type"),
        (one(expect={"status": 500}), ".expect.status: 500 is too large, allowed is 499 or less"),
        (one(expect={"status": 429}), ".expect.status: 429 means that there was no time"),
        (
            one(headers={"Authorization": "x"}),
            ".headers.Authorization: is not allowed: Rollway sends the endpoint's key",
        ),
        (
            one(headers={"azureml-Model-deployment": "x"}),
            ".headers.azureml-Model-deployment: is not allowed: Rollway na",
        ),
        (one(headers={"HOST": "x"}), ".headers.HOST: is not allowed: it belongs to the connection"),
        (one(headers={"content-length": "1"}), ".headers.content-length: is not allowed: it belongs to the connection"),
        (one(headers={"Content-Type": "a/b"}), ".headers.Content-Type: is not allowed: use content_type"),
        (one(headers={"X Y": "1"}), ".headers.X Y: is not the name of a header"),
        (one(headers={"X-A": "1", "x-a": "2"}), ".headers: the same header in other letter case: x-a"),
        (one(headers={"X-A": f"{SECRET}\n"}), ".headers.X-A: must be printable ASCII in one line"),
        (one(headers={"X-A": f"ü{SECRET}"}), ".headers.X-A: must be printable ASCII in one line"),
        (one(headers={"X-A": [SECRET]}), ".headers.X-A: a list is not text: quote it"),
        (one(headers=SECRET), ".headers: its value is not a mapping of keys and values"),
    ],
)
def test_a_fault_is_named_with_its_path_and_without_values_of_headers(test: object, problem: str) -> None:
    (found,) = problems_of(test)

    assert found.startswith(problem)
    assert SECRET not in found


def test_all_faults_of_all_requests_come_at_once() -> None:
    requests = [
        {**TWO[0], "headers": {"Host": "x", "TE": "x"}, "route": "x"},
        {**TWO[0], "content_type": "x", "expect": {"status": 100}},
    ]

    found = sorted(problem.split(": ")[0] for problem in problems_of({"requests": requests, "warm_up_seconds": -1}))

    assert found == [
        ".requests.0.headers.Host",
        ".requests.0.headers.TE",
        ".requests.0.route",
        ".requests.1.content_type",
        ".requests.1.expect.status",
        ".requests.1.name",
        ".warm_up_seconds",
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"route": "/v1/models/half_plus_two:predict?x=%20"},
        {"content_type": 'multipart/form-data; boundary="a b"'},
        {"content_type": "text/csv;charset=utf-8"},
        {"headers": {"X-Flag": True, "X-Number": 1.5, "Accept": "text/html, */*"}},
        {"expect": {"status": 201, "content_type": "image/svg+xml", "text_contains": ["a"], "minimum_bytes": 1}},
    ],
)
def test_what_is_allowed(values: dict[str, Any]) -> None:
    parsed(one(**values))


def test_a_header_is_text_whatever_yaml_makes_of_it() -> None:
    test = parsed(one(headers={"X-Flag": True, "X-Number": 15})).smoke_test

    assert isinstance(test, SmokeTest)
    assert {name: value.get_secret_value() for name, value in test.headers.items()} == {
        "X-Flag": "true",
        "X-Number": "15",
    }


def test_a_smoke_test_ends_before_the_deadline_of_its_task() -> None:
    longest = parsed(one(warm_up_seconds=600, expect={"max_latency_seconds": 300})).smoke_test
    slow = [{**request, "expect": {"max_latency_seconds": 300}} for request in TWO]

    assert list(check_smoke_test(longest)) == []
    assert list(check_smoke_test(parsed({"requests": slow}).smoke_test)) == [
        ("smoke_test", "may take 1320 s, each request twice and the warm-up; allowed are 1200 s")
    ]


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/vnd.x+json", True),
        ("application/jsonlines", False),
        ("text/plain", False),
    ],
)
def test_a_json_body_is_known_by_its_type(content_type: str, expected: bool) -> None:
    assert is_json(content_type) is expected


FORM = b'--abc\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--abc--\r\n'


@pytest.mark.parametrize(
    ("content_type", "whole"),
    [
        ("image/png", "image/png"),
        ("multipart/form-data", 'multipart/form-data; boundary="abc"'),
        ("multipart/form-data; boundary=abc", "multipart/form-data; boundary=abc"),
        ('multipart/mixed; Boundary="abc"', 'multipart/mixed; Boundary="abc"'),
    ],
)
def test_the_boundary_of_a_multipart_body_is_found(content_type: str, whole: str) -> None:
    assert with_boundary(content_type, FORM) == whole


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin with a boundary"),
        (b"\x89PNG\r\n", "does not begin with a boundary"),
        (FORM.replace(b"\r\n", b"\n"), "its lines must end with CR LF"),
        (FORM[:-6], "--abc-- does not end it"),
    ],
)
def test_a_body_that_is_not_multipart_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_boundary("multipart/form-data", content)


def test_a_boundary_that_the_body_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="--other-- does not end it"):
        with_boundary("multipart/form-data; boundary=other", FORM)


def test_nothing_shows_headers_and_content() -> None:
    request = ScoringRequest(content=SECRET.encode(), content_type="text/plain", headers={"X-Key": SECRET})

    shown = f"{request.model_dump_json()} {request.headers}"

    assert SECRET not in shown
    assert f'"content":"({len(SECRET)} bytes)"' in shown
    assert '"X-Key":"(hidden)"' in shown
