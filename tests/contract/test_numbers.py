"""Numbers and times that no machine can hold: they are refused with a 400, and stop nothing."""

from typing import Any
from urllib.parse import quote

import pytest

from rollway.emulator.core.numbers import parse_number, parse_whole
from tests.contract.conftest import Arm
from tests.support.builders import autoscale_rule

HUGE = "9" * 5000
BODY = {"location": "westeurope", "properties": {"authMode": "Key"}}


def short(value: object) -> str:
    """The name of a test's case."""
    return ascii(value)[:16]


@pytest.mark.parametrize(
    "query",
    [
        {"timespan": "0001-01-01T00:00:00+14:00/0001-01-01T01:00:00+14:00"},
        {"timespan": "9999-12-31T22:00:00-14:00/9999-12-31T23:00:00-14:00"},
        {"timespan": "9999-12-31T23:00:00Z/9999-12-31T23:59:59.999999Z"},
        {"$filter": "deployment eq '*'", "top": HUGE},
        {"$filter": "deployment eq '*'", "top": "9999999999"},
    ],
    ids=["before year 1", "after year 9999", "rounded to year 10000", "5000 digits", "10 digits"],
)
def test_metrics_of_times_and_numbers_that_cannot_be_are_refused(arm: Arm, name: str, query: dict[str, str]) -> None:
    arm.send("PUT", f"/onlineEndpoints/{name}", BODY).raise_for_status()
    given = "&".join(f"{quote(key)}={quote(value)}" for key, value in query.items())

    answer = arm.send("GET", f"/onlineEndpoints/{name}/providers/Microsoft.Insights/metrics?{given}")

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Invalid t")


def test_metrics_of_the_first_and_the_last_hour_are_empty(arm: Arm, name: str) -> None:
    arm.send("PUT", f"/onlineEndpoints/{name}", BODY).raise_for_status()

    for span in ("0001-01-01T00:00:00Z/0001-01-01T01:00:00Z", "9999-12-31T22:59:59Z/9999-12-31T23:59:59Z"):
        answer = arm.send("GET", f"/onlineEndpoints/{name}/providers/Microsoft.Insights/metrics?timespan={span}")
        assert (answer.status_code, answer.json()["timespan"]) == (200, span)


@pytest.mark.parametrize("hours", ["nan", "inf", "-inf", "many", -2e9, -1e300, 0, -1, 10**400, [], {}], ids=short)
def test_a_signature_for_hours_that_cannot_be_is_refused(arm: Arm, hours: Any) -> None:
    answer = arm.send("POST", "/datastores/workspaceblobstore/listSecrets", {"expireAfterHours": hours})

    assert answer.status_code == 400
    assert "expireAfterHours: a number of hours above 0 is expected" in answer.json()["error"]["message"]


@pytest.mark.parametrize("hours", [None, 1, 0.5, "2", 1e300])
def test_a_signature_for_some_hours_is_given(arm: Arm, hours: Any) -> None:
    answer = arm.send("POST", "/datastores/workspaceblobstore/listSecrets", {"expireAfterHours": hours})

    assert "sig=" in answer.raise_for_status().json()["sasToken"]


def a_setting(target: str, **capacity: str) -> dict[str, Any]:
    profile = {
        "name": "default",
        "capacity": {"minimum": "1", "maximum": "2", "default": "1", **capacity},
        "rules": [autoscale_rule(target)],
    }
    properties = {"enabled": True, "targetResourceUri": target, "profiles": [profile]}
    return {"location": "westeurope", "properties": properties}


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("capacity", "maximum", HUGE),
        ("capacity", "minimum", "\N{ARABIC-INDIC DIGIT ONE}"),
        ("scaleAction", "value", "9" * 400),
        ("scaleAction", "value", HUGE),
        ("metricTrigger", "threshold", 10**400),
    ],
    ids=short,
)
def test_autoscale_settings_with_numbers_that_cannot_be_are_refused(
    arm: Arm, name: str, part: str, field: str, value: Any
) -> None:
    body = a_setting(f"{arm.root}/onlineEndpoints/{name}/deployments/blue")
    profile = body["properties"]["profiles"][0]
    (profile if part == "capacity" else profile["rules"][0])[part][field] = value
    group = arm.root.partition("/providers/")[0]
    url = f"{arm.url}{group}/providers/Microsoft.Insights/autoscalesettings/{name}?api-version=2022-10-01"

    answer = arm.http.put(url, json=body)

    assert answer.status_code == 400
    assert "number" in answer.json()["error"]["message"]
    assert arm.http.get(url).status_code == 404


@pytest.mark.parametrize("text", [HUGE, "9999999999", "", "-1", "1.5", "x", None, 7, "\N{SUPERSCRIPT TWO}"], ids=short)
def test_what_is_no_whole_number_is_found(text: Any) -> None:
    assert parse_whole(text) is None


def test_numbers_are_parsed() -> None:
    assert (parse_whole("007"), parse_whole("999999999")) == (7, 999_999_999)
    assert (parse_number(7), parse_number("0.5"), parse_number(10**400), parse_number("nan")) == (7.0, 0.5, None, None)
