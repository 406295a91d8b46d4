"""The record: what is remembered survives the way through Azure's tags, whatever the names are."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.errors import ConfigurationError
from rollway.rollout.record import (
    FREE,
    LAST,
    LEASE,
    MOST_CHARACTERS,
    MOST_REJECTED,
    MOST_TAGS,
    PAUSED,
    PROVEN_TRAFFIC,
    REJECTED,
    VERSION,
    WRITTEN_TRAFFIC,
    End,
    Ended,
    EndpointRecord,
    Lease,
    OnlineDeploymentRecord,
    Served,
    has_record,
    is_earlier_attempt,
    others,
    with_record,
)

AT = "2026-01-01T12:00:00+00:00"
# Azure's rules: 3 to 32 characters for online deployments, up to 255 for the names and versions of models.
ONLINE_DEPLOYMENTS = st.from_regex(r"[a-z][a-z0-9-]{1,30}[a-z0-9]", fullmatch=True)
LONGEST_ONLINE_DEPLOYMENTS = st.integers(0, 10**6).map(lambda number: f"{number:x>32}")
MODEL_PARTS = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}", fullmatch=True) | st.just("m" * 255)
MODELS = st.builds("{}:{}".format, MODEL_PARTS, MODEL_PARTS)
ATTEMPTS = st.builds("{}/{}".format, st.uuids(), st.integers(1, 10**6))
TRAFFIC = st.dictionaries(ONLINE_DEPLOYMENTS | LONGEST_ONLINE_DEPLOYMENTS, st.integers(0, 100), max_size=20)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=600)
WORDS = st.text(st.characters(exclude_characters=" "), min_size=1, max_size=20)
LEASES = st.builds(Lease, holder=WORDS | ATTEMPTS, ttl_seconds=st.integers(1, 10**6), renewed_at=WORDS | st.just(AT))
USER_TAGS = st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.text(max_size=9), max_size=5)

RECORDS = st.builds(
    EndpointRecord,
    lease=st.none() | LEASES,
    created_by=st.none() | ATTEMPTS,
    created_at=st.none() | st.just(AT),
    moved_by=st.none() | ATTEMPTS,
    written_traffic=st.none() | TRAFFIC,
    proven_traffic=st.none() | TRAFFIC,
    previous=st.none() | st.builds(Served, online_deployment=ONLINE_DEPLOYMENTS, model=st.just("") | MODELS),
    promoted_at=st.none() | st.just(AT),
    last=st.none() | st.builds(Ended, outcome=st.sampled_from(End), attempt=ATTEMPTS, at=st.just(AT)),
    pause_reason=TEXT,
)


@st.composite
def endpoint_records(draw: st.DrawFn) -> EndpointRecord:
    """A record in any reachable state: rejected versions come in one by one, as aborts reject them."""
    record = draw(RECORDS)
    for model in draw(st.lists(MODELS, max_size=8)):
        record = record.rejecting(model)
    return record


ONLINE_DEPLOYMENT_RECORDS = st.builds(
    OnlineDeploymentRecord,
    fingerprint=st.from_regex(r"[0-9a-f]{64}", fullmatch=True) | st.just(""),
    model=st.none() | MODELS,
    code=st.none() | st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
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
    assert len(tags) <= MOST_TAGS <= 25


def test_the_longest_names_that_azure_allows_fit() -> None:
    model = f"{'m' * 255}:{'v' * 255}"
    weights = {f"{number:x>32}": 5 for number in range(20)}
    record = EndpointRecord(
        lease=Lease(holder=f"{'f' * 36}/{10**6}", ttl_seconds=10**6, renewed_at=AT),
        created_by=f"{'f' * 36}/{10**6}",
        created_at=AT,
        previous=Served(online_deployment="d" * 32, model=model),
        pause_reason="why " * 100,
    )
    record = record.moved(f"{'f' * 36}/1", weights, weights).promoted("run/1", AT)
    for number in range(9):
        record = record.rejecting(f"{model[:-1]}{number}")

    tags = record.tags()

    assert len(tags) <= MOST_TAGS
    assert max(map(len, tags.values())) == MOST_CHARACTERS
    assert EndpointRecord.of(tags) == record
    assert record.rejected[-1] == f"{model[:-1]}8", "the newest one is always remembered"


@given(endpoint_records(), endpoint_records(), USER_TAGS)
def test_a_new_record_replaces_all_of_the_old_one_even_where_a_write_merges_tags(
    old: EndpointRecord, new: EndpointRecord, tags: dict[str, str]
) -> None:
    before = with_record(tags, old)
    written = with_record(before, new)

    assert EndpointRecord.of(written) == new
    assert EndpointRecord.of({**before, **written}) == new
    assert others(written) == tags


@given(st.dictionaries(st.sampled_from([LEASE, LAST, WRITTEN_TRAFFIC, PROVEN_TRAFFIC, REJECTED, PAUSED]), TEXT))
def test_no_text_in_the_tags_is_an_error(tags: dict[str, str]) -> None:
    assert EndpointRecord.of(EndpointRecord.of(tags).tags()) == EndpointRecord.of(tags)


@given(st.text(st.sampled_from(" 0123456789²٣/-ab"), max_size=12))
def test_no_text_in_the_tag_of_the_lease_is_an_error(text: str) -> None:
    held = EndpointRecord.of({LEASE: text}).lease

    assert held is None or held.holder == text.partition(" ")[0]


@pytest.mark.parametrize(
    "text", ["", FREE, "run/1", "run/1 300", "run/1 x now", "run/1 -1 now", "run/1 ² now", "a b c d"]
)
def test_a_lease_that_rollway_did_not_write_is_none(text: str) -> None:
    assert EndpointRecord.of({LEASE: text}).lease is None


@pytest.mark.parametrize("text", ["blue", "blue=", "blue=x", "blue=0", "blue=1,", "Blue=1", "b=1,a=2", "b= 1", "b=²"])
def test_traffic_that_rollway_did_not_write_is_unknown(text: str) -> None:
    record = EndpointRecord.of({WRITTEN_TRAFFIC: text, PROVEN_TRAFFIC: text})

    assert (record.written_traffic, record.proven_traffic) == (None, None)


@pytest.mark.parametrize("text", ["", "promoted", "promoted run/1", f"lost run/1 {AT}", f"promoted run/1 {AT} x"])
def test_an_end_that_rollway_did_not_write_is_unknown(text: str) -> None:
    assert EndpointRecord.of({LAST: text}).last is None


def test_people_can_read_the_tags() -> None:
    record = EndpointRecord().claimed(Lease(holder="run/2", ttl_seconds=300, renewed_at=AT))
    record = record.moved("run/2", {"green": 90, "blue": 10}, {"blue": 100}).rejecting("diabetes:7")

    assert record.tags() == {
        "rollway:record": "1",
        "rollway:lease": f"run/2 300 {AT}",
        "rollway:run": "run/2",
        "rollway:traffic": "blue=10,green=90",
        "rollway:proven-traffic": "blue=100",
        "rollway:rejected": "diabetes:7",
    }


def test_no_traffic_differs_from_unknown_traffic() -> None:
    record = EndpointRecord().moved("run/1", {"green": 100}, {})

    assert EndpointRecord.of(record.tags()).proven_traffic == {}
    assert EndpointRecord.of({}).proven_traffic is None


@pytest.mark.parametrize("kind", [EndpointRecord, OnlineDeploymentRecord])
def test_a_record_of_a_newer_rollway_is_not_misread(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="a newer version of Rollway has written the record") as caught:
        kind.of({VERSION: "2"})

    assert caught.value.hint == "upgrade Rollway wherever it runs"


def test_a_resource_has_a_record_as_soon_as_rollway_has_written_to_it() -> None:
    assert has_record(with_record({"team": "ml"}, EndpointRecord()))
    assert not has_record({"team": "ml"})


def test_the_first_promotion_of_an_attempt_counts_and_no_abort_of_it_undoes_that() -> None:
    record = EndpointRecord().promoted("run/1", "first").promoted("run/1", "second").aborted("run/1", "third")

    assert (record.promoted_at, record.last) == ("first", Ended(outcome=End.PROMOTED, attempt="run/1", at="first"))


def test_an_aborted_attempt_is_remembered_and_a_later_one_replaces_it() -> None:
    aborted = EndpointRecord().aborted("run/1", AT)

    assert aborted.last == Ended(outcome=End.ABORTED, attempt="run/1", at=AT)
    assert aborted.promoted("run/2", AT).has_promoted("run/2")


@given(st.lists(MODELS, max_size=12))
def test_the_newest_rejected_versions_are_remembered_each_once(models: list[str]) -> None:
    record = EndpointRecord()
    for model in models:
        record = record.rejecting(model)

    newest = list(dict.fromkeys(reversed(models)))
    assert list(reversed(record.rejected)) == newest[: len(record.rejected)]
    assert bool(record.rejected) is bool(models)
    if sum(map(len, newest[:MOST_REJECTED])) < 900:
        assert len(record.rejected) == min(len(newest), MOST_REJECTED)


def test_an_accepted_version_is_no_longer_rejected() -> None:
    assert EndpointRecord().rejecting("m:1").rejecting("m:2").accepting("m:1").rejected == ("m:2",)


def test_a_pause_has_a_reason_on_one_line_and_an_empty_one_ends_it() -> None:
    paused = EndpointRecord().paused("rolled back\n  by Ann")

    assert paused.pause_reason == "rolled back by Ann"
    assert paused.paused("") == EndpointRecord()


def test_what_is_changed_in_place_keeps_its_creator() -> None:
    created = OnlineDeploymentRecord(fingerprint="f1", model="m:1").created("run/1", AT)

    changed = created.changed(OnlineDeploymentRecord(fingerprint="f2", model="m:2"), "run/2")

    assert (changed.fingerprint, changed.model) == ("f2", "m:2")
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
