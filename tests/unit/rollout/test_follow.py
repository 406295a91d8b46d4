"""Which new version of a model is rolled out by itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.rollout.entries import Served
from rollway.rollout.follow import (
    Choice,
    LiveModel,
    ModelSource,
    ModelVersion,
    choose,
    content_digest,
    followed_model,
    freezing_window,
    live_models,
    named,
    newest_eligible,
    newest_first,
    parse_reference,
    rejection,
)
from rollway.rollout.record import EndpointRecord
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.spec import AssetSpec, Follow, FreezeWindow, RolloutSpec
from tests.support.builders import WORKSPACE_ID, rollout_spec

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # a Friday
DIABETES = ModelSource(name="diabetes")


def version(text: str, minutes: float = 0, **values: Any) -> ModelVersion:
    """A version of the model diabetes that was created so many minutes after a fixed moment, a day ago."""
    created_at = NOW - timedelta(days=1) + timedelta(minutes=minutes)
    return ModelVersion(
        **{"name": "diabetes", "version": text, "id": f"{WORKSPACE_ID}/{text}", "created_at": created_at, **values}
    )


def pick(*versions: ModelVersion, rejected: tuple[str, ...] = (), **rules: Any) -> Choice:
    return newest_eligible(versions, Follow(**rules), NOW, rejected)


def chosen(choice: Choice) -> str | None:
    return choice.version.version if choice.version else None


def spec_that_follows(reference: str = "diabetes@latest", **rules: Any) -> RolloutSpec:
    spec = rollout_spec(model=AssetSpec(reference=reference))
    follow = Follow(**rules) if rules else None
    return spec.model_copy(update={"rollout": spec.rollout.model_copy(update={"follow": follow})})


def endpoint_with(*serving: tuple[str, int], tags: dict[str, str] | None = None) -> EndpointState:
    """An endpoint whose online deployments serve versions of the model diabetes with weights."""
    return EndpointState(
        name="diabetes",
        tags=tags or {},
        traffic={f"main-{text}": weight for text, weight in serving},
        online_deployments=tuple(
            OnlineDeploymentState(
                name=f"main-{text}",
                provisioning_state="Succeeded",
                instance_count=1,
                model=f"{WORKSPACE_ID}/models/diabetes/versions/{text}",
            )
            for text, _ in serving
        ),
    )


def choice_for(endpoint: EndpointState, *versions: ModelVersion, spec: RolloutSpec | None = None) -> Choice:
    """Return the choice of a run at an endpoint, for a folder that follows the newest version."""
    return choose(spec or spec_that_follows(), DIABETES, versions, endpoint, NOW)


def test_the_newest_is_the_one_created_last_not_the_highest() -> None:
    assert chosen(pick(version("10", minutes=1), version("9", minutes=2), version("2", minutes=0))) == "9"


def test_of_versions_created_at_once_the_highest_number_is_the_newest() -> None:
    assert [
        one.version for one in newest_first([version("9"), version("10"), version("1.9.0"), version("1.10.0")])
    ] == [
        "10",
        "9",
        "1.10.0",
        "1.9.0",
    ]


versions = st.lists(
    st.builds(
        version,
        st.text("0123456789.v-", min_size=1, max_size=5),
        st.integers(0, 5),
        is_archived=st.booleans(),
        tags=st.dictionaries(st.just("approved"), st.sampled_from(["yes", "no"])),
        stage=st.sampled_from([None, "Production", "development"]),
    ),
    max_size=8,
    unique_by=lambda one: one.version,
)
rules = st.builds(
    Follow,
    tags=st.dictionaries(st.just("approved"), st.just("yes")),
    stage=st.sampled_from([None, "production"]),
    minimum_age_seconds=st.sampled_from([0, 24 * 3600 - 120]),
)


@given(versions, rules, st.randoms())
def test_the_order_in_which_azure_lists_versions_does_not_matter(
    listed: list[ModelVersion], follow: Follow, random: Any
) -> None:
    shuffled = random.sample(listed, len(listed))

    assert newest_eligible(shuffled, follow, NOW, ()) == newest_eligible(listed, follow, NOW, ())


@given(versions, rules, st.sets(st.sampled_from(["1", "2"])))
def test_every_newer_version_is_skipped_with_a_reason_and_none_is_both(
    listed: list[ModelVersion], follow: Follow, rejected: set[str]
) -> None:
    choice = newest_eligible(listed, follow, NOW, rejected)

    ordered = [one.version for one in newest_first(listed)]
    skipped = [one.version for one in choice.skipped]
    assert ordered[: len(skipped)] == skipped
    assert all(one.reason for one in choice.skipped)
    if choice.version is None:
        assert len(skipped) == len(ordered)
    else:
        assert ordered[len(skipped)] == choice.version.version
        assert not choice.version.is_archived
        assert choice.version.version not in rejected


@pytest.mark.parametrize(
    ("newest", "rules", "reason"),
    [
        ({"is_archived": True}, {}, "it is archived"),
        ({}, {"tags": {"approved": "yes"}}, "its tag approved is (not set), not yes"),
        ({"tags": {"approved": "no"}}, {"tags": {"approved": "yes"}}, "its tag approved is no, not yes"),
        ({"stage": "Staging"}, {"stage": "Production"}, "its stage is Staging, not Production"),
        ({}, {"stage": "Production"}, "its stage is (not set), not Production"),
        ({"created_at": NOW - timedelta(seconds=30)}, {"minimum_age_seconds": 60}, "it is 30 s old, not yet 60 s"),
        ({"created_at": NOW + timedelta(seconds=9)}, {"minimum_age_seconds": 60}, "it is 0 s old, not yet 60 s"),
    ],
)
def test_a_version_that_breaks_a_rule_is_skipped_for_the_next_one(
    newest: dict[str, Any], rules: dict[str, Any], reason: str
) -> None:
    good = version("1", tags={"approved": "yes"}, stage="production")

    choice = pick(good, version("2", minutes=5, **newest), **rules)

    assert (chosen(choice), choice.why) == ("1", "newest eligible version, 1 newer skipped")
    assert [(one.version, one.reason) for one in choice.skipped] == [("2", reason)]


def test_a_rejected_version_is_skipped_and_a_newer_one_is_tried() -> None:
    versions = (version("1"), version("2", 1), version("3", 2))

    assert chosen(pick(*versions[:2], rejected=("2",))) == "1"
    assert chosen(pick(*versions, rejected=("2",))) == "3"


def test_a_version_is_rejected_together_with_the_folder_it_was_rolled_out_from() -> None:
    spec = spec_that_follows()
    tags = EndpointRecord().rejecting(rejection("Diabetes:2", spec)).tags()
    versions, changed = (version("1"), version("2", 1)), rollout_spec(code_sha256="beef" * 16)

    same_folder = choice_for(endpoint_with(("1", 100), tags=tags), *versions, spec=spec)
    changed_folder = choice_for(endpoint_with(("1", 100), tags=tags), *versions, spec=changed)

    assert (chosen(same_folder), chosen(changed_folder)) == ("1", "2")
    assert [one.reason for one in same_folder.skipped] == ["its rollout failed before; name it to try it again"]


def test_what_a_failure_counts_for_changes_with_the_version_and_the_folder_and_nothing_else() -> None:
    spec = spec_that_follows("diabetes:1")

    assert content_digest("diabetes:2", spec) == content_digest("DIABETES:2", spec_that_follows("diabetes:2"))
    others = {content_digest("diabetes:3", spec), content_digest("diabetes:2", rollout_spec(code_sha256=None))}
    assert len(others | {content_digest("diabetes:2", spec)}) == 3


def test_an_endpoint_that_does_not_exist_yet_gets_its_first_version() -> None:
    assert chosen(choice_for(EndpointState(name="diabetes", exists=False), version("1"))) == "1"


def test_a_new_version_is_chosen_over_the_live_one() -> None:
    choice = choice_for(endpoint_with(("1", 100)), version("1"), version("2", 1))

    assert (chosen(choice), choice.why, choice.skipped) == ("2", "newest version", ())


@pytest.mark.parametrize("is_archived", [False, True])
def test_nothing_goes_back_by_itself_to_an_older_version(is_archived: bool) -> None:
    live = version("2", 1, is_archived=is_archived)
    spec = spec_that_follows(tags={"ok": "1"})

    choice = choice_for(endpoint_with(("2", 100)), version("1", tags={"ok": "1"}), live, spec=spec)

    assert (chosen(choice), choice.why) == (
        "2",
        "2 is live and newer than the newest eligible version, 1 newer skipped",
    )


def test_not_even_a_canarys_version_goes_back_by_itself() -> None:
    spec = spec_that_follows(tags={"ok": "1"})
    shared = endpoint_with(("1", 60), ("2", 40))

    assert chosen(choice_for(shared, version("1", tags={"ok": "1"}), version("2", 1), spec=spec)) == "2"


def test_a_version_that_deployment_yml_names_is_chosen_unless_a_newer_one_is_live() -> None:
    spec, versions = spec_that_follows("diabetes:2"), (version("1"), version("2", 1), version("3", 2))

    forward, back = (choice_for(endpoint_with((live, 100)), *versions, spec=spec) for live in ("1", "3"))

    assert (chosen(forward), forward.why) == ("2", "version 2 that deployment.yml names")
    assert (chosen(back), back.why) == ("3", "3 is live and newer than the version 2 that deployment.yml names")


def test_another_model_of_that_name_behind_the_endpoint_gives_way() -> None:
    state = endpoint_with(("2", 100))
    live = state.online_deployments[0].model_copy(update={"model": "azureml://registries/r/models/diabetes/versions/2"})
    other = state.model_copy(update={"online_deployments": (live,)})
    spec, versions = spec_that_follows("diabetes:1"), (version("1"), version("2", 1))

    assert chosen(choice_for(other, *versions, spec=spec)) == "1"
    assert chosen(choice_for(state, *versions, spec=spec)) == "2"


def test_a_model_without_versions_is_no_error() -> None:
    choice = choice_for(endpoint_with())

    assert (choice.version, choice.why) == (None, "newest version: the model has none yet")


def test_a_version_that_a_request_names_is_found_in_any_letter_case() -> None:
    assert chosen(named("V2", [version("v1"), version("v2")])) == "v2"
    assert named("3", [version("1")]) == Choice(
        version=None, why="version 3 of the request: there is none, or it is archived"
    )


def test_a_freeze_window_covers_its_times_and_is_named() -> None:
    follow = Follow(freeze=(FreezeWindow(days=("sat",)), FreezeWindow(days=("fri",), start="11:00", end="13:00")))

    assert freezing_window(follow, NOW) == "fri 11:00 to 13:00 UTC"
    assert freezing_window(follow, NOW + timedelta(hours=1)) is None
    assert freezing_window(follow, NOW + timedelta(hours=12)) == "sat 00:00 to 24:00 UTC"
    assert freezing_window(Follow(), NOW) is None


@pytest.mark.parametrize(
    ("reference", "source", "which"),
    [
        ("diabetes@latest", DIABETES, "latest"),
        ("diabetes:3", DIABETES, "3"),
        ("diabetes", DIABETES, "latest"),
        (f"{WORKSPACE_ID}/models/diabetes/versions/3", DIABETES, "3"),
        (f"azureml:{WORKSPACE_ID}/models/diabetes/versions/3", DIABETES, "3"),
        ("azureml://registries/r/models/diabetes/versions/3", ModelSource(name="diabetes", registry="r"), "3"),
        ("azureml://registries/r/models/diabetes/labels/latest", ModelSource(name="diabetes", registry="r"), "latest"),
    ],
)
def test_every_form_of_a_reference_names_its_model(reference: str, source: ModelSource, which: str) -> None:
    assert parse_reference(reference) == (source, which)


def test_latest_is_followed_and_a_pinned_version_only_with_rules() -> None:
    assert followed_model(spec_that_follows("diabetes@latest")) == DIABETES
    assert followed_model(spec_that_follows("diabetes:3")) is None
    assert followed_model(spec_that_follows("diabetes:3", stage="Production")) == DIABETES


@pytest.mark.parametrize("model", [None, AssetSpec(name="inline")])
def test_a_model_without_a_reference_is_not_followed(model: AssetSpec | None) -> None:
    assert followed_model(rollout_spec(model=model)) is None


def test_what_is_live_is_named_by_its_model_id_or_else_by_our_tag() -> None:
    by_id, bare = endpoint_with(("1", 30), ("2", 70)).online_deployments
    tagged = by_id.model_copy(update={"model": None, "tags": {"rollway:model": "diabetes:7"}})
    unknown = bare.model_copy(update={"model": None})
    endpoint = endpoint_with(("1", 30), ("2", 70)).model_copy(update={"online_deployments": (tagged, unknown)})

    assert live_models(endpoint) == (LiveModel(source=DIABETES, version="7"),)
    assert [one.version for one in live_models(endpoint_with(("1", 30), ("2", 70), ("3", 0)))] == ["2", "1"]


def test_in_a_list_without_online_deployments_the_live_model_is_the_one_of_the_record() -> None:
    record = EndpointRecord(live=Served(online_deployment="Main-1", model="diabetes:1"))
    bare = EndpointState(name="diabetes", traffic={"main-1": 100}, tags=record.tags(), is_complete=False)

    assert live_models(bare) == (LiveModel(source=DIABETES, version="1"),)
    assert live_models(bare.model_copy(update={"traffic": {"other": 100}})) == ()
