"""From a request to what is wanted: one function for a person, a schedule and the watcher."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from rollway.rollout.entries import Order, Served
from rollway.rollout.follow import ModelSource, ModelVersion, content_digest, rejection
from rollway.rollout.moves import Kind
from rollway.rollout.record import EndpointRecord
from rollway.rollout.request import Answer, Models, Request, answer
from rollway.rollout.rollback import Target
from rollway.rollout.state import EndpointState
from rollway.rollout.steering import promotable
from rollway.rollout.wanted import RequestedBy
from rollway.spec import AssetSpec, Follow, FreezeWindow, RolloutSpec
from tests.support.builders import WORKSPACE_ID, asset
from tests.unit.rollout.courses import half_way, progressive
from tests.unit.rollout.examples import (
    ABSENT,
    EARLIER,
    LATER,
    NOW,
    at,
    endpoint,
    facts,
    name_of,
    order,
    ours,
    rolled_out,
    run,
    run_until,
    spec_with,
    wanted,
    with_changes,
)

FOLLOWS = spec_with()
NAMES_1 = spec_with(model=AssetSpec(reference="diabetes:1"))
ENVIRONMENT = asset("environment", "inference")
AUTOMATION = [RequestedBy.SCHEDULE, RequestedBy.WATCHER]
EVERYBODY = list(RequestedBy)
V1, V2 = name_of("1"), name_of("2")


def version(text: str, days: int = 0, **values: Any) -> ModelVersion:
    """A version of the model `diabetes`, as many days after the first of a row as its number says."""
    model = asset("model", "diabetes", text)
    created_at = NOW - timedelta(days=30) + timedelta(days=days or int(text))
    return ModelVersion(**{"name": "diabetes", "version": text, "id": model.id, "created_at": created_at, **values})


VERSIONS = (version("1"), version("2"), version("3"))


def answered(
    state: EndpointState,
    *,
    by: RequestedBy = RequestedBy.WATCHER,
    spec: RolloutSpec = FOLLOWS,
    versions: tuple[ModelVersion, ...] = VERSIONS,
    now: datetime = NOW,
    **request: Any,
) -> Answer:
    """The answer for an endpoint, with these versions of its model registered."""
    models = Models(source=ModelSource(name="diabetes"), versions=versions)
    asked = Request(folder="diabetes", requested_by=by, **request)
    return answer(spec, asked, models, ENVIRONMENT, state, now)


def rolls_out(found: Answer) -> str | None:
    """The version that is rolled out; None if nothing is."""
    return None if found.wanted.stays_because or found.wanted.model is None else found.wanted.model.version


def follows(**rules: Any) -> RolloutSpec:
    return spec_with({"follow": Follow(**rules)})


@pytest.mark.parametrize("by", EVERYBODY)
def test_whoever_asks_gets_the_newest_version_that_the_folder_allows(by: RequestedBy) -> None:
    found = answered(rolled_out("1"), by=by)

    assert rolls_out(found) == "3"
    assert found.choice is not None
    assert found.choice.why == "newest version"
    assert (found.wanted.requested_by, found.wanted.environment) == (by, ENVIRONMENT)


# A person


def test_an_explicit_version_of_a_person_wins_over_everything() -> None:
    spec = follows(tags={"approved": "yes"}, freeze=(FreezeWindow(),))
    record = EndpointRecord().rejecting(rejection("diabetes:1", spec)).paused("rolled back")
    record = record.failed(content_digest("diabetes:1", spec), at(NOW)).told(order(Order.HOLD, EARLIER))
    state = with_changes(rolled_out("3"), record)

    assert rolls_out(answered(state, by=RequestedBy.PERSON, spec=spec, version="1")) == "1"


@pytest.mark.parametrize("record", [EndpointRecord().paused("why"), EndpointRecord().told(order(Order.HOLD, EARLIER))])
def test_a_persons_run_needs_no_end_of_a_pause_or_a_hold(record: EndpointRecord) -> None:
    assert rolls_out(answered(endpoint(ours("green"), record=record), by=RequestedBy.PERSON)) == "3"


def test_a_persons_run_does_not_wait_after_temporary_failures() -> None:
    record = EndpointRecord()
    for _ in range(5):
        record = record.failed(content_digest("diabetes:3", FOLLOWS), at(NOW))

    assert rolls_out(answered(endpoint(ours("green"), record=record), by=RequestedBy.PERSON)) == "3"


def test_a_version_that_does_not_exist_is_not_rolled_out() -> None:
    found = answered(rolled_out("1"), by=RequestedBy.PERSON, version="9")

    assert found.wanted.stays_because == "version 9 of the request: there is none, or it is archived"


# Automation


@pytest.mark.parametrize("by", AUTOMATION)
@pytest.mark.parametrize("asked_for", [None, "3"])
def test_automation_never_rolls_out_what_follow_forbids(by: RequestedBy, asked_for: str | None) -> None:
    spec = follows(tags={"approved": "yes"})
    versions = (version("1"), version("2", tags={"approved": "yes"}), version("3"))

    found = answered(rolled_out("1"), by=by, spec=spec, versions=versions, version=asked_for)

    assert rolls_out(found) == "2"
    assert found.choice is not None
    assert [(one.version, one.reason) for one in found.choice.skipped] == [
        ("3", "its tag approved is (not set), not yes")
    ]


@pytest.mark.parametrize("by", AUTOMATION)
def test_when_follow_forbids_every_version_nothing_is_rolled_out(by: RequestedBy) -> None:
    found = answered(ABSENT, by=by, spec=follows(stage="production"))

    assert found.wanted.stays_because == "newest eligible version: there is none"


@pytest.mark.parametrize("by", AUTOMATION)
def test_automation_skips_a_rejected_version_and_rolls_out_the_next_one(by: RequestedBy) -> None:
    rejected = EndpointRecord().rejecting(rejection("diabetes:3", FOLLOWS))

    assert rolls_out(answered(endpoint(ours("green"), record=rejected), by=by)) == "2"


@pytest.mark.parametrize("by", AUTOMATION)
@pytest.mark.parametrize(
    ("spec", "record", "why"),
    [
        (follows(freeze=(FreezeWindow(),)), EndpointRecord(), "no automatic rollouts in every day 00:00 to 24:00 UTC"),
        (FOLLOWS, EndpointRecord().paused("rolled back to blue"), "it is paused: rolled back to blue"),
        (FOLLOWS, EndpointRecord().told(order(Order.HOLD, EARLIER)), "it is held: hold by ann: because"),
        (
            NAMES_1,
            EndpointRecord().rejecting(rejection("diabetes:1", NAMES_1)),
            "diabetes:1 was rejected: it failed through its own fault; change the folder, or name the version",
        ),
        (
            FOLLOWS,
            EndpointRecord().failed(content_digest("diabetes:3", FOLLOWS), at(NOW)),
            "it failed once for a temporary reason; the next try is due at 12:10:00 UTC",
        ),
    ],
    ids=["freeze window", "paused", "held", "rejected", "failed"],
)
def test_automation_rolls_nothing_out_while_something_holds_it_back(
    by: RequestedBy, spec: RolloutSpec, record: EndpointRecord, why: str
) -> None:
    state = endpoint(ours("green", "0"), record=record)

    found = answered(state, by=by, spec=spec)

    assert found.wanted.stays_because == why
    assert run(spec, found.wanted, state).moves == []


@pytest.mark.parametrize("by", AUTOMATION)
def test_automation_never_rolls_out_an_older_version_than_the_live_one(by: RequestedBy) -> None:
    live_3 = rolled_out("3")
    only_old = follows(tags={"approved": "yes"})
    versions = (version("1", tags={"approved": "yes"}), version("2"), version("3"))

    found = answered(live_3, by=by, spec=only_old, versions=versions)

    assert rolls_out(found) == "3"
    assert found.choice is not None
    assert found.choice.why == "3 is live and newer than the newest eligible version, 2 newer skipped"
    assert run(only_old, found.wanted, live_3).moves == []


@pytest.mark.parametrize("by", AUTOMATION)
def test_automation_never_goes_back_to_an_older_version_that_deployment_yml_names(by: RequestedBy) -> None:
    found = answered(rolled_out("3"), by=by, spec=NAMES_1)

    assert rolls_out(found) == "3"
    assert found.choice is not None
    assert found.choice.why == "3 is live and newer than the version 1 that deployment.yml names"


@pytest.mark.parametrize("by", AUTOMATION)
def test_automation_rolls_out_a_newer_version_that_deployment_yml_names(by: RequestedBy) -> None:
    spec = spec_with(model=AssetSpec(reference="diabetes:2"))

    assert rolls_out(answered(rolled_out("1"), by=by, spec=spec)) == "2"


def test_an_archived_version_that_deployment_yml_names_is_not_rolled_out() -> None:
    found = answered(ABSENT, spec=NAMES_1, versions=(version("2"),))  # lists leave archived ones out

    assert found.wanted.stays_because == ("version 1 that deployment.yml names: there is none, or it is archived")


@pytest.mark.parametrize("by", AUTOMATION)
def test_a_run_for_an_older_version_than_the_live_one_ends_as_superseded(by: RequestedBy) -> None:
    live_3 = rolled_out("3")

    found = answered(live_3, by=by, version="2")

    assert found.superseded_because == "superseded: 3 is live and newer than 2"
    assert found.wanted.stays_because == found.superseded_because
    assert run(FOLLOWS, found.wanted, live_3).moves == []


@pytest.mark.parametrize(
    ("by", "version"), [(RequestedBy.PERSON, "2"), (RequestedBy.WATCHER, "3"), (RequestedBy.WATCHER, None)]
)
def test_no_other_run_is_superseded(by: RequestedBy, version: str | None) -> None:
    assert answered(rolled_out("3"), by=by, version=version).superseded_because == ""


@pytest.mark.parametrize("by", AUTOMATION)
def test_automation_leaves_a_candidate_that_a_hold_stopped_for_a_person_to_promote(by: RequestedBy) -> None:
    held = with_changes(rolled_out("1"), rolled_out("1").record.told(order(Order.HOLD, LATER)))
    waiting = run(FOLLOWS, wanted("3"), held).endpoint
    later = facts(attempt="next/1", ended=frozenset({"run/1"}))

    made = run(FOLLOWS, answered(waiting, by=by).wanted, waiting, later)

    assert (made.moves, made.last.why) == ([], "it is held: hold by ann: because")
    target = promotable(waiting)
    assert target is not None
    assert target.online_deployment == name_of("3")


def test_automation_still_tidies_an_endpoint_but_not_a_paused_one() -> None:
    frozen = follows(freeze=(FreezeWindow(),))
    leftover = endpoint(ours("green", "1"), ours("blue"))
    paused = with_changes(leftover, EndpointRecord().paused("why"))

    in_window, on_pause = (answered(state, spec=frozen).wanted for state in (leftover, paused))

    assert run(frozen, in_window, leftover).kinds == [Kind.DELETE]
    assert run(frozen, on_pause, paused).kinds == []


@pytest.mark.parametrize("by", AUTOMATION)
def test_automation_gives_a_canary_of_a_dead_run_no_more_traffic(by: RequestedBy) -> None:
    left = run_until(FOLLOWS, wanted("3", weight=10), rolled_out("1"), Kind.MOVE_TRAFFIC).endpoint

    found = answered(left, by=by)

    canary = name_of("3")
    assert found.wanted.stays_because == f"a canary has traffic, and its run ended early: {V1} 90 %, {canary} 10 %"
    assert answered(left, by=RequestedBy.PERSON).wanted.stays_because == ""


# Options


def test_a_canary_pauses_the_endpoint() -> None:
    found = answered(rolled_out("1"), by=RequestedBy.PERSON, weight=10).wanted

    assert (found.weight, found.pause_reason) == (10, "canary at 10 %")


def test_a_rollout_to_all_traffic_ends_a_pause() -> None:
    assert answered(rolled_out("1"), by=RequestedBy.PERSON).wanted.pause_reason == ""


def test_force_reaches_the_decision() -> None:
    assert answered(rolled_out("1"), by=RequestedBy.PERSON, force="flow run").wanted.force == "flow run"


def test_a_model_that_is_given_by_its_path_needs_no_choice() -> None:
    fixed = asset("model", "diabetes", "7")

    found = answer(FOLLOWS, Request(folder="diabetes"), Models(fixed=fixed), ENVIRONMENT, ABSENT, NOW)

    assert (found.wanted.model, found.choice, found.wanted.stays_because) == (fixed, None, "")


# A progressive rollout is under way

UNDER_WAY = half_way().endpoint  # of version 2


@pytest.mark.parametrize("code", ["as it was", "changed"])
def test_a_run_that_goes_on_knows_if_the_folder_has_changed_since_its_canary(code: str) -> None:
    spec = progressive()
    if code == "changed":
        spec = spec.model_copy(
            update={"online_deployment": spec.online_deployment.model_copy(update={"code_sha256": "f" * 64})}
        )

    found = answered(UNDER_WAY, by=RequestedBy.PERSON, spec=spec).wanted

    assert (found.goes_on, found.has_other_files) == (V2, code == "changed")


@pytest.mark.parametrize("weight", [10, 100])
@pytest.mark.parametrize("by", AUTOMATION)
def test_automation_that_is_held_back_never_ends_the_rollout_of_another_run(by: RequestedBy, weight: int) -> None:
    paused = with_changes(UNDER_WAY, UNDER_WAY.record.paused("why"))

    found = answered(paused, by=by, spec=progressive(), weight=weight).wanted

    assert found.goes_on == V2


# Rollbacks


def test_a_rollback_to_what_exists_pauses_and_deletes_nothing() -> None:
    state = rolled_out("1", "2")
    target = Target(online_deployment=V1, model="diabetes", version="1")
    asked = Request(folder="diabetes", is_rollback=True, target=target)

    found = answer(FOLLOWS, asked, Models(), None, state, NOW).wanted

    assert (found.goes_back_to, found.tidies) == (V1, False)
    assert found.pause_reason == f"rolled back to {V1} (diabetes:1)"
    assert run(FOLLOWS, found, state).endpoint.record.live == Served(online_deployment=V1, model="diabetes:1")


def test_a_rollback_to_a_version_pauses_and_deletes_nothing() -> None:
    asked = Request(folder="diabetes", is_rollback=True, target=Target(model="diabetes", version="1"))
    models = Models(fixed=asset("model", "diabetes", "1"))

    found = answer(FOLLOWS, asked, models, ENVIRONMENT, rolled_out("2"), NOW).wanted

    assert (found.goes_back_to, found.tidies, found.model) == (None, False, models.fixed)
    assert found.pause_reason == "rolled back to model diabetes:1"


def test_a_promotion_of_what_exists_ends_the_pause() -> None:
    state = run(FOLLOWS, wanted("2", weight=10, pause_reason="canary at 10 %"), rolled_out("1")).endpoint
    asked = Request(folder="diabetes", target=Target(online_deployment=V2, model="diabetes", version="2"))

    found = answer(FOLLOWS, asked, Models(), None, state, NOW).wanted

    reached = run(FOLLOWS, found, state).endpoint
    assert (reached.serving, reached.record.pause_reason) == ({V2: 100}, "")


def test_a_target_that_has_gone_meanwhile_is_rolled_out_again() -> None:
    target = Target(online_deployment="gone", model="diabetes", version="1")
    asked = Request(folder="diabetes", is_rollback=True, target=target)

    found = answer(FOLLOWS, asked, Models(fixed=asset("model", "diabetes", "1")), ENVIRONMENT, rolled_out("2"), NOW)

    assert (found.wanted.goes_back_to, rolls_out(found)) == (None, "1")
    assert WORKSPACE_ID in str(found.wanted.model and found.wanted.model.id)
