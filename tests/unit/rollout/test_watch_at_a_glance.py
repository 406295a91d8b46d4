"""A list of models is enough to see that nothing is newer than what is live."""

from typing import Any

import pytest
from hypothesis import given, settings

from rollway.rollout.follow import ModelSource, newest_first, serves_latest, unread_version
from rollway.rollout.request import Models
from rollway.rollout.state import EndpointState
from rollway.rollout.watch import Verdict, find
from tests.unit.rollout.examples import NOW
from tests.unit.rollout.test_watch import DIABETES, ONE, TWO, WORKSPACE, following, listed, serving, situations

REGISTRY = ModelSource(name="diabetes", registry="team")


@given(situations())
@settings(max_examples=800)
def test_the_lists_alone_say_the_same_as_the_versions_if_the_latest_is_live(situation: Any) -> None:
    spec, models, endpoint, now = situation
    newest = newest_first(models.versions)
    latest = newest[0].version if newest else None
    if latest is None or not serves_latest(DIABETES, latest, listed(endpoint)):
        return
    unread = Models(source=DIABETES, versions=(unread_version(spec, DIABETES, latest),))

    quick = find(spec, unread, listed(endpoint), WORKSPACE, now)
    complete = find(spec, models, endpoint, WORKSPACE, now)

    assert quick == find(spec, models, listed(endpoint), WORKSPACE, now).model_copy(update={"skipped": quick.skipped})
    assert complete.verdict is not Verdict.START or not complete.reason.startswith("newest")


@pytest.mark.parametrize(
    "rules", [{}, {"tags": {"approved": "yes"}}, {"stage": "Production"}, {"minimum_age_seconds": 10**9}], ids=str
)
def test_whatever_the_rules_are_nothing_replaces_the_live_version_if_it_is_the_latest(rules: dict[str, Any]) -> None:
    spec, endpoint = following(**rules), listed(serving(TWO))
    unread = Models(source=DIABETES, versions=(unread_version(spec, DIABETES, "2"),))

    quick = find(spec, unread, endpoint, WORKSPACE, NOW)
    full = find(spec, Models(source=DIABETES, versions=(ONE, TWO)), serving(TWO), WORKSPACE, NOW)

    assert (quick.verdict, quick.version, quick.live_version) == (Verdict.UP_TO_DATE, "2", "2")
    assert (quick.verdict, quick.version) == (full.verdict, full.version)
    assert quick.reason == "2 is live, the newest version"


@pytest.mark.parametrize(
    ("source", "latest", "endpoint", "expected"),
    [
        (DIABETES, "2", serving(TWO), True),
        (DIABETES, "2", listed(serving(TWO)), True),
        (REGISTRY, "2", listed(serving(TWO)), True),
        (ModelSource(name="Diabetes"), "2", serving(TWO), True),
        (DIABETES, "2", serving(ONE), False),
        (DIABETES, None, serving(ONE), False),
        (ModelSource(name="other"), "2", serving(TWO), False),
        (DIABETES, "2", EndpointState(name="diabetes", exists=False), False),
        (DIABETES, "2", listed(serving(TWO)).model_copy(update={"traffic": {"green": 100}}), False),
        (DIABETES, "2", listed(serving(TWO)).model_copy(update={"tags": {}}), False),
    ],
)
def test_the_latest_version_must_be_the_live_one(
    source: ModelSource, latest: str | None, endpoint: EndpointState, expected: bool
) -> None:
    assert serves_latest(source, latest, endpoint) is expected
