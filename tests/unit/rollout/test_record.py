"""The record: what is remembered survives the way through Azure's tags, whatever the names are."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.errors import ConfigurationError
from rollway.rollout.entries import Command, End, Ended, Failures, Lease, Order, Served, Underway
from rollway.rollout.record import (
    COMMAND,
    FAILURES,
    INSTANCES,
    LAST,
    LEASE,
    LIVE,
    MOST_REJECTED,
    MOST_TAGS,
    PAUSED,
    REJECTED,
    STABLE_TRAFFIC,
    VERSION,
    WRITTEN_TRAFFIC,
    EndpointRecord,
    OnlineDeploymentRecord,
    has_record,
    is_earlier_attempt,
    is_same_run,
    others,
    with_record,
)
from rollway.rollout.tags import MOST_CHARACTERS
from rollway.spec import ErrorLimits, Judge, LatencyLimits, Predictions, Probes, Progression, Step, Tolerance
from rollway.spec.progressive import MOST_PATH, MOST_PATTERN, MOST_PATTERNS, MOST_STEPS

AT = "2026-01-01T12:00:00.000+00:00"
# Azure's rules: 3 to 32 characters for online deployments, up to 255 for the names and versions of models.
ONLINE_DEPLOYMENTS = st.from_regex(r"[a-z][a-z0-9-]{1,30}[a-z0-9]", fullmatch=True)
LONGEST_ONLINE_DEPLOYMENTS = st.integers(0, 10**6).map(lambda number: f"{number:x>32}")
MODEL_PARTS = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,9}", fullmatch=True) | st.just("m" * 255)
MODELS = st.builds("{}:{}".format, MODEL_PARTS, MODEL_PARTS)
DIGESTS = st.from_regex(r"[0-9a-f]{8}", fullmatch=True)
REJECTIONS = st.builds("{}/{}".format, MODELS, DIGESTS)
ATTEMPTS = st.builds("{}/{}".format, st.uuids(), st.integers(1, 10**6))
TRAFFIC = st.dictionaries(ONLINE_DEPLOYMENTS | LONGEST_ONLINE_DEPLOYMENTS, st.integers(0, 100), max_size=20)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=600)
WORDS = st.text(st.characters(exclude_characters=" "), min_size=1, max_size=20)
LOGINS = st.from_regex(r"[a-zA-Z0-9._@-]{1,40}", fullmatch=True)
LEASES = st.builds(Lease, holder=WORDS | ATTEMPTS, ttl_seconds=st.integers(1, 10**6), renewed_at=WORDS | st.just(AT))
SERVED = st.builds(Served, online_deployment=ONLINE_DEPLOYMENTS, model=st.just("") | MODELS)
COMMANDS = st.builds(Command, order=st.sampled_from(Order), by=LOGINS | ATTEMPTS, at=st.just(AT), reason=TEXT)
UNDERWAY = st.builds(
    Underway,
    run=st.uuids().map(str),
    canary=ONLINE_DEPLOYMENTS,
    until=st.just(AT),
    since=st.lists(st.just(AT), min_size=1, max_size=MOST_STEPS).map(tuple),
    asked=st.just("") | st.just(AT),
    held=TEXT,
)
PROGRESSIONS = st.builds(
    Progression,
    steps=st.lists(st.builds(Step, weight=st.integers(1, 100), gate=st.booleans()), min_size=1, max_size=5).map(tuple),
    judge=st.builds(Judge, minimum_requests=st.integers(1, 10**7)),
)
USER_TAGS = st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.text(max_size=9), max_size=5)

RECORDS = st.builds(
    EndpointRecord,
    lease=st.none() | LEASES,
    created_by=st.none() | ATTEMPTS,
    created_at=st.none() | st.just(AT),
    moved_by=st.none() | ATTEMPTS,
    written_traffic=st.none() | TRAFFIC,
    stable_traffic=st.none() | TRAFFIC,
    is_tested=st.booleans(),
    live=st.none() | SERVED,
    previous=st.none() | SERVED,
    failures=st.none() | st.builds(Failures, content=DIGESTS, count=st.integers(0, 10**6), at=st.just(AT)),
    promoted_at=st.none() | st.just(AT),
    last=st.none() | st.builds(Ended, outcome=st.sampled_from(End), attempt=ATTEMPTS, at=st.just(AT)),
    pause_reason=TEXT,
    command=st.none() | COMMANDS,
    underway=st.none() | UNDERWAY,
    progression=st.none() | PROGRESSIONS,
    provisioning_seconds=st.none() | st.integers(0, 10**5),
)


@st.composite
def endpoint_records(draw: st.DrawFn) -> EndpointRecord:
    """A record in any reachable state: rejected versions come in one by one, as aborts reject them."""
    record = draw(RECORDS)
    for content in draw(st.lists(REJECTIONS, max_size=8)):
        record = record.rejecting(content)
    return record


ONLINE_DEPLOYMENT_RECORDS = st.builds(
    OnlineDeploymentRecord,
    fingerprint=st.from_regex(r"1:[0-9a-f]{64}", fullmatch=True) | st.just(""),
    model=st.none() | MODELS,
    code=st.none() | st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
    instances=st.none() | st.integers(0, 100),
    written_by=st.none() | ATTEMPTS,
    created_by=st.none() | ATTEMPTS,
    created_at=st.none() | st.just(AT),
)


@given(endpoint_records(), USER_TAGS)
def test_an_endpoints_record_survives_its_tags(record: EndpointRecord, tags: dict[str, str]) -> None:
    assert EndpointRecord.of(with_record(tags, record)) == record


@given(ONLINE_DEPLOYMENT_RECORDS, USER_TAGS)
def test_an_online_deployments_record_survives_its_tags(record: OnlineDeploymentRecord, tags: dict[str, str]) -> None:
    assert OnlineDeploymentRecord.of(with_record(tags, record)) == record


@given(endpoint_records() | ONLINE_DEPLOYMENT_RECORDS)
def test_a_record_fits_into_azures_tags_and_leaves_room_for_others(
    record: EndpointRecord | OnlineDeploymentRecord,
) -> None:
    tags = record.tags()

    assert all(0 < len(value) <= MOST_CHARACTERS for value in tags.values())
    assert all(re.fullmatch(r"rollway:[a-z-]+(\.\d+)?", name) for name in tags)
    assert len(tags) <= MOST_TAGS < 40


def test_the_longest_names_that_azure_allows_fit() -> None:
    model = f"{'m' * 255}:{'v' * 255}"
    weights = {f"{number:x>32}": 5 for number in range(20)}
    attempt = f"{'f' * 36}/{10**6}"
    served = Served(online_deployment="d" * 32, model=model)
    record = EndpointRecord(
        lease=Lease(holder=attempt, ttl_seconds=10**6, renewed_at=AT),
        created_by=attempt,
        created_at=AT,
        live=served,
        previous=served,
        pause_reason="why " * 100,
        command=Command(order=Order.PROMOTE, by="b" * 64, at=AT, reason="why " * 100),
        promoted_at=AT,
    )
    record = record.moved(attempt, weights, weights).tested(weights).aborted(attempt, AT).failed("0123abcd", AT)
    for number in range(9):
        record = record.rejecting(f"{model[:-1]}{number}/0123abcd")
    record = record.provisioned(10**5).going_on(
        Underway(run="f" * 36, canary="d" * 32, until=AT, since=(AT,) * MOST_STEPS, asked=AT, held="why " * 100),
        Progression(
            steps=(Step(weight=99, bake_seconds=2_591_999, gate=True),) * MOST_STEPS,
            judge=Judge(
                errors=ErrorLimits(tolerated_ratio=1.23456, maximum=0.123456),
                latency=LatencyLimits(percentile=99, tolerated_ratio=1.23456, maximum_seconds=123.456),
                predictions=Predictions(
                    requests="r" * MOST_PATH,
                    ignore=("$" * MOST_PATTERN,) * MOST_PATTERNS,
                    tolerance=Tolerance(absolute=1.2345e-9, relative=0.123456),
                    minimum_agreement=0.123456,
                    sample=9999,
                    minimum_requests=9999,
                    requests_per_second=123.456,
                    on_disagreement="abort",
                ),
                minimum_requests=9_999_999,
                source="both",
                probes=Probes(requests="r" * MOST_PATH, requests_per_second=123.456),
                lag_seconds=3599,
                on_inconclusive="promote",
                on_failure="hold",
            ),
            deadline_seconds=5_183_999,
        ),
    )

    tags = record.tags()

    assert len(tags) <= MOST_TAGS
    assert max(map(len, tags.values())) == MOST_CHARACTERS
    assert EndpointRecord.of(tags) == record
    assert record.rejected[-1] == f"{model[:-1]}8/0123abcd", "the newest one is always remembered"


@given(endpoint_records(), endpoint_records(), USER_TAGS)
def test_a_new_record_replaces_all_of_the_old_one_even_where_a_write_merges_tags(
    old: EndpointRecord, new: EndpointRecord, tags: dict[str, str]
) -> None:
    before = with_record(tags, old)
    written = with_record(before, new)

    assert EndpointRecord.of(written) == new
    assert EndpointRecord.of({**before, **written}) == new
    assert others(written) == tags


PARSED = [LEASE, LAST, WRITTEN_TRAFFIC, STABLE_TRAFFIC, REJECTED, PAUSED, LIVE, FAILURES, COMMAND]


@given(st.dictionaries(st.sampled_from(PARSED), TEXT | st.text(st.sampled_from(" 01²٣/-ab=,"), max_size=12)))
def test_no_text_in_the_tags_is_an_error(tags: dict[str, str]) -> None:
    record = EndpointRecord.of(tags)

    assert EndpointRecord.of(record.tags()).tags() == record.tags()


@pytest.mark.parametrize(("text", "count"), [("3", 3), ("", None), ("²", None), ("-1", None), ("many", None)])
def test_a_number_of_instances_that_rollway_did_not_write_is_unknown(text: str, count: int | None) -> None:
    assert OnlineDeploymentRecord.of({INSTANCES: text}).instances == count


@pytest.mark.parametrize("text", ["blue", "blue=", "blue=x", "blue=0", "blue=1,", "Blue=1", "b=1,a=2", "b= 1", "b=²"])
def test_traffic_that_rollway_did_not_write_is_unknown(text: str) -> None:
    record = EndpointRecord.of({WRITTEN_TRAFFIC: text, STABLE_TRAFFIC: text})

    assert (record.written_traffic, record.stable_traffic) == (None, None)


def test_people_can_read_the_tags() -> None:
    record = EndpointRecord().moved("run/2", {"green": 90, "blue": 10}, {"blue": 100})
    record = record.claimed(Lease(holder="run/2", ttl_seconds=300, renewed_at=AT)).tested({"green": 90, "blue": 10})
    record = record.rejecting("diabetes:7/0123abcd").failed("4567cdef", AT).paused("canary at 90 %")

    assert record.tags() == {
        "rollway:record": "1",
        "rollway:lease": f"run/2 300 {AT}",
        "rollway:run": "run/2",
        "rollway:traffic": "blue=10,green=90",
        "rollway:proven-traffic": "blue=100",
        "rollway:tested": "yes",
        "rollway:rejected": "diabetes:7/0123abcd",
        "rollway:failures": f"4567cdef 1 {AT}",
        "rollway:paused": "canary at 90 %",
    }


def test_no_traffic_differs_from_unknown_traffic() -> None:
    record = EndpointRecord().moved("run/1", {"green": 100}, {})

    assert EndpointRecord.of(record.tags()).stable_traffic == {}
    assert EndpointRecord.of({}).stable_traffic is None


@pytest.mark.parametrize("kind", [EndpointRecord, OnlineDeploymentRecord])
def test_a_record_of_a_newer_rollway_is_not_misread(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="a newer version of Rollway has written the record") as caught:
        kind.of({VERSION: "2"})

    assert caught.value.hint == "upgrade Rollway wherever it runs"


def test_a_resource_has_a_record_as_soon_as_rollway_has_written_to_it() -> None:
    assert has_record(with_record({"team": "ml"}, EndpointRecord()))
    assert not has_record({"team": "ml"})


def test_the_first_promotion_of_an_attempt_counts_and_no_abort_of_it_undoes_that() -> None:
    green = Served(online_deployment="green", model="m:1")
    record = EndpointRecord().promoted("run/1", "first", green, {"green": 100})
    record = record.promoted("run/1", "second", green, {"green": 100}).aborted("run/1", "third")

    assert (record.promoted_at, record.last) == ("first", Ended(outcome=End.PROMOTED, attempt="run/1", at="first"))


def test_a_promotion_makes_the_traffic_stable_and_ends_the_count_of_failures() -> None:
    record = EndpointRecord().failed("0123abcd", AT).moved("run/1", {"green": 100}, {"blue": 100})

    promoted = record.promoted("run/1", AT, Served(online_deployment="green"), {"Green": 100, "blue": 0})

    assert promoted.written_traffic == promoted.stable_traffic == {"green": 100}
    assert (promoted.live, promoted.failures) == (Served(online_deployment="green"), None)


def test_an_aborted_attempt_is_remembered_and_a_later_one_replaces_it() -> None:
    aborted = EndpointRecord().aborted("run/1", AT)

    assert aborted.last == Ended(outcome=End.ABORTED, attempt="run/1", at=AT)
    assert aborted.promoted("run/2", AT, Served(online_deployment="green"), {}).has_promoted("run/2")


def test_a_new_move_of_traffic_is_not_tested_yet_and_restored_traffic_is_stable() -> None:
    tested = EndpointRecord().moved("run/1", {"green": 10, "blue": 90}, {"blue": 100}).tested({"green": 10, "blue": 90})
    moved = tested.moved("run/2", {"green": 100}, {"blue": 100})
    restored = moved.restored("run/3", {"blue": 100})

    assert (tested.is_tested, moved.is_tested, restored.is_tested) == (True, False, False)
    assert tested.stable_traffic == {"blue": 100}
    assert restored.written_traffic == restored.stable_traffic == {"blue": 100}
    assert restored.moved_by == "run/3"


@given(st.lists(REJECTIONS, max_size=12))
def test_the_newest_rejected_versions_are_remembered_each_once(contents: list[str]) -> None:
    record = EndpointRecord()
    for content in contents:
        record = record.rejecting(content)

    newest = list(dict.fromkeys(reversed(contents)))
    assert list(reversed(record.rejected)) == newest[: len(record.rejected)]
    assert bool(record.rejected) is bool(contents)
    if sum(map(len, newest[:MOST_REJECTED])) < 900:
        assert len(record.rejected) == min(len(newest), MOST_REJECTED)


def test_a_version_is_rejected_with_the_folder_it_was_rolled_out_from() -> None:
    record = EndpointRecord().rejecting("diabetes:2/0123abcd")

    assert record.has_rejected("Diabetes:2", "0123ABCD")
    assert not record.has_rejected("diabetes:2", "4567cdef")
    assert not record.has_rejected("diabetes:3", "0123abcd")


def test_a_version_that_was_rejected_without_a_folder_is_rejected_with_every_folder() -> None:
    assert EndpointRecord.of({REJECTED: "Diabetes:2, diabetes:4"}).has_rejected("diabetes:2", "0123abcd")


def test_an_accepted_version_is_no_longer_rejected_with_whatever_folder() -> None:
    record = EndpointRecord().rejecting("m:1/a").rejecting("m:2/a").rejecting("m:1/b").rejecting("m:11/a")

    assert record.accepting("M:1").rejected == ("m:2/a", "m:11/a")


def test_failures_are_counted_in_a_row_for_one_content() -> None:
    record = EndpointRecord().failed("0123abcd", "first").failed("0123abcd", "second")

    assert record.failures == Failures(content="0123abcd", count=2, at="second")
    assert record.failed("4567cdef", "third").failures == Failures(content="4567cdef", count=1, at="third")


def test_a_pause_has_a_reason_on_one_line_and_an_empty_one_ends_it() -> None:
    paused = EndpointRecord().paused("rolled back\n  by Ann")

    assert paused.pause_reason == "rolled back by Ann"
    assert paused.paused("") == EndpointRecord()


def test_a_later_order_replaces_an_earlier_one_and_resume_ends_both_pause_and_hold() -> None:
    hold, abort, resume = (Command(order=word, by="ann", at=AT) for word in (Order.HOLD, Order.ABORT, Order.RESUME))
    held = EndpointRecord().paused("why").told(hold)

    assert held.told(abort).command == abort
    assert held.told(resume) == EndpointRecord()


@pytest.mark.parametrize(("word", "stays"), [(Order.HOLD, True), (Order.ABORT, False), (Order.PROMOTE, False)])
def test_an_order_is_over_when_it_was_carried_out_but_a_hold_stays(word: Order, stays: bool) -> None:
    command = Command(order=word, by="ann", at=AT)

    assert EndpointRecord().told(command).obeyed().command == (command if stays else None)


def test_what_is_changed_in_place_keeps_its_creator() -> None:
    created = OnlineDeploymentRecord(fingerprint="f1", model="m:1", instances=1).created("run/1", AT)

    changed = created.changed(OnlineDeploymentRecord(fingerprint="f2", model="m:2", instances=3), "run/2")

    assert (changed.fingerprint, changed.model, changed.instances) == ("f2", "m:2", 3)
    assert (changed.created_by, changed.created_at, changed.written_by) == ("run/1", AT, "run/2")


@pytest.mark.parametrize(
    ("holder", "attempt", "is_earlier"),
    [
        ("run/1", "run/2", True),
        ("run/9", "run/10", True),
        ("run/2", "run/2", False),
        ("run/3", "run/2", False),
        ("other/1", "run/2", False),
        ("run", "run/2", False),
        ("run/1", "run", False),
        ("run/x", "run/2", False),
        ("run/²", "run/3", False),
    ],
)
def test_only_an_attempt_before_of_the_same_flow_run_is_an_earlier_one(
    holder: str, attempt: str, is_earlier: bool
) -> None:
    assert is_earlier_attempt(holder, attempt) is is_earlier


def test_attempts_of_one_flow_run_are_the_same_run() -> None:
    assert is_same_run("run/1", "run/2")
    assert not is_same_run("run/1", "run2/1")
