"""The part of a status that people decide on: the canary, orders, failures, and how long the replaced one stays."""

from typing import Any

import pytest

from rollway.rollout.entries import Command, Failures, Order, Served
from rollway.rollout.record import EndpointRecord, OnlineDeploymentRecord, with_record
from rollway.rollout.restraint import MOST_FAILURES
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.rollout.status import EndpointStatus, status_of
from rollway.spec import RolloutFile
from tests.support.builders import NOW, rollout_spec

AT = NOW.isoformat()
CANARY = {"blue": 90, "green": 10}
BEFORE = {"blue": 100}


def seen(
    record: EndpointRecord,
    *,
    traffic: dict[str, int] | None = None,
    rollout: RolloutFile | None = None,
    made_by: str | None = "run/0",
) -> EndpointStatus:
    """The status of an endpoint with `blue` and `green`."""
    tags = with_record({}, OnlineDeploymentRecord(created_by=made_by))
    behind = tuple(
        OnlineDeploymentState(name=name, provisioning_state="Succeeded", instance_count=1, tags=tags)
        for name in ("blue", "green")
    )
    endpoint = EndpointState(
        name="diabetes", tags=with_record({}, record), traffic=traffic or BEFORE, online_deployments=behind
    )
    return status_of(endpoint, {}, NOW, rollout=rollout)


def test_a_canary_that_passed_its_smoke_test_waits_for_a_person() -> None:
    record = EndpointRecord().moved("run/1", CANARY, BEFORE).tested(CANARY)

    found = seen(record, traffic=CANARY)

    assert found.canary == "green"
    assert found.problems == ()


@pytest.mark.parametrize(
    ("record", "traffic"),
    [
        (EndpointRecord().moved("run/1", CANARY, BEFORE), CANARY),
        (EndpointRecord(), CANARY),
        (EndpointRecord().moved("run/1", CANARY, BEFORE).tested(CANARY), {"blue": 50, "green": 50}),
        (EndpointRecord(), BEFORE),
    ],
    ids=["untested", "a split that Rollway did not write", "moved by somebody else since", "one serves"],
)
def test_nothing_else_waits_as_a_canary(record: EndpointRecord, traffic: dict[str, int]) -> None:
    assert seen(record, traffic=traffic).canary == ""


def test_the_order_of_a_person_is_shown_in_words() -> None:
    command = Command(order=Order.HOLD, by="ann", at=AT, reason="month end")

    assert seen(EndpointRecord().told(command)).order == "hold by ann: month end"
    assert seen(EndpointRecord()).order == ""


@pytest.mark.parametrize(
    ("count", "problems"),
    [
        (MOST_FAILURES - 1, ()),
        (
            MOST_FAILURES,
            (f"its rollout failed {MOST_FAILURES} times for temporary reasons, last at 2026-01-02 03:04 UTC",),
        ),
    ],
)
def test_temporary_failures_are_counted_until_a_person_must_look(count: int, problems: tuple[str, ...]) -> None:
    failures = Failures(content="0a1b2c3d", count=count, at=AT)

    found = seen(EndpointRecord(failures=failures))

    assert (found.failures, found.problems) == (failures, problems)


@pytest.mark.parametrize(
    ("options", "until"),
    [
        ({"rollout": rollout_spec().rollout}, "2026-01-02T04:04:05+00:00"),
        (
            {"rollout": rollout_spec().rollout.model_copy(update={"keep_replaced_seconds": 60})},
            "2026-01-02T03:05:05+00:00",
        ),
        ({}, None),
        ({"rollout": rollout_spec().rollout, "made_by": None}, None),
    ],
    ids=["an hour", "a minute", "no folder", "not made by Rollway"],
)
def test_what_was_replaced_stays_as_long_as_the_folder_says(options: dict[str, Any], until: str | None) -> None:
    record = EndpointRecord(previous=Served(online_deployment="blue"), promoted_at=AT)

    found = seen(record, traffic={"green": 100}, **options)

    assert {one.name: one.stays_until for one in found.online_deployments} == {"blue": until, "green": None}
