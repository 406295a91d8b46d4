"""Whatever goes wrong with whichever call of a rollout: it is promoted or everything is as before, and the next works.

The calls are those that an undisturbed rollout makes, see `tests.support.calls`. Each is tried with each kind of
trouble on an endpoint that serves already. `ROLLWAY_MATRIX=full` tries all of them, otherwise each call meets some of
the troubles.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from rollway.errors import TrafficNotRestored
from rollway.rollout.record import EndpointRecord
from tests.support.calls import ANY, Call, calls_of
from tests.support.lab import Lab, RunResult, Seen
from tests.support.matrix import IS_FULL
from tests.support.world import WARM_UP_SECONDS

EXPIRED = {"error": {"code": "ExpiredAuthenticationToken", "message": "The access token expiry UTC time is earlier."}}
CONFLICT = {"error": {"code": "Conflict", "message": "Already running method CreateOrUpdate on the resource."}}
TROUBLES: dict[str, dict[str, Any]] = {
    "throttled twice": {"status": 429, "retry_after": 1, "count": 2},
    "fails once": {"status": 500},
    "fails for ever": {"status": 500, "count": None},
    "busy once": {"status": 409, "body": CONFLICT},
    "connection lost before": {"drop": "before"},
    "connection lost after": {"drop": "after"},
    "token expired": {"status": 401, "body": EXPIRED},
    "slow": {"delay_seconds": 0.3},
    "Prefect away": {},  # from this call on
}
LIVE_TEST_PASSED = re.compile(r"smoke test \S+ \(by traffic\)' - Finished in state Completed")


@pytest.fixture(scope="package")
def calls(lab: Lab) -> list[Call]:
    """The calls of the second rollout of an endpoint, which changes everything."""
    lab.start_afresh()
    lab.change()
    return calls_of(lab.requests_of(lab.roll_out))


@pytest.mark.parametrize("trouble", TROUBLES)
def test_every_call_with(
    trouble: str, lab: Lab, calls: list[Call], record_property: Callable[[str, object], None]
) -> None:
    try_cells(trouble, lab, calls, lab.start_afresh, record_property)


@pytest.fixture(scope="package")
def steps_and_looks(lab: Lab, calls: list[Call]) -> list[Call]:
    """The calls of a progressive rollout that no other rollout makes."""
    lab.start_progressive()
    lab.change()
    found = [one for one in calls_of(lab.requests_of(lab.roll_out)) if one not in calls]
    assert any(one.is_write for one in found)
    assert any(one.is_look for one in found)
    return found


@pytest.mark.parametrize("trouble", TROUBLES)
def test_every_step_and_look_with(
    trouble: str, lab: Lab, steps_and_looks: list[Call], record_property: Callable[[str, object], None]
) -> None:
    try_cells(trouble, lab, steps_and_looks, lab.start_progressive, record_property)


def try_cells(
    trouble: str,
    lab: Lab,
    calls: list[Call],
    begin: Callable[[], None],
    record_property: Callable[[str, object], None],
) -> None:
    """Try a trouble with the calls that are chosen, on an endpoint that serves; on another one after a problem."""
    begin()
    chosen = [call for number, call in enumerate(calls) if is_chosen(number, call, trouble)]
    problems, ends = [], Counter[str]()
    for call in chosen:
        found, end = try_cell(lab, call, TROUBLES[trouble])
        ends[end] += 1
        lab.note(f"{call} {trouble}: {end} {found}")
        if found:
            problems.append(f"{call} {trouble}: {found}")
            begin()
    record_property("cells", f"{trouble}: {len(chosen)} of {len(calls)} calls, {dict(ends)}")

    assert problems == []


def is_chosen(number: int, call: Call, trouble: str) -> bool:
    """Return True if a cell is tried: all of them, or a part, with more of the writes and looks than of the reads."""
    lasts = TROUBLES[trouble].get("count", 1) is None
    every = 1 if IS_FULL else (2 if lasts else 5) if call.is_write else 5 if call.is_look else 15
    return (number + list(TROUBLES).index(trouble)) % every == 0


def try_cell(lab: Lab, call: Call, trouble: dict[str, Any]) -> tuple[str, str]:
    """Return the problem after a rollout with the fault (and the next one, if it failed), and its result."""
    before = lab.look()
    lab.change()
    at = {"method": call.method, "path": call.path}
    if trouble:
        lab.emulator.fail(**at, after=call.occurrence - 1, **trouble)
        outcome = lab.roll_out(warm_up_seconds=WARM_UP_SECONDS if trouble.get("count", 1) else 5)
    else:
        outcome = lab.roll_out(away={**at, "path": call.path[1:], "occurrence": call.occurrence})
    lab.emulator.delete_faults()
    after = lab.look()
    if outcome.exit_code == 0:
        return judge_promoted(after, before), "promoted"
    if not trouble:
        return f"a server of Prefect that is away ended it: {outcome.error[:1500]}\n{after}", "failed"
    end = f"exit code {outcome.exit_code}"
    # Azure refuses every write to the endpoint, so nobody can bring traffic back from a step.
    is_refused = call.is_write and call.path.endswith(f"/onlineEndpoints/{ANY}$") and trouble.get("count", 1) is None
    if problem := judge_failed(lab, outcome, before, after, is_refused=is_refused):
        return f"{problem}\n{outcome.error[:1500]}\n{after}", end
    following = lab.roll_out()
    if following.exit_code or (problem := judge_promoted(lab.look(), before)):
        return f"the next run, after {end}: {problem or following.error}\n{lab.look()}", end
    return "", end


def judge_failed(lab: Lab, outcome: RunResult, before: Seen, after: Seen, *, is_refused: bool) -> str:
    """Return the problem after a failed rollout, or an empty text."""
    if outcome.exit_code == TrafficNotRestored.exit_code and is_refused:
        return "" if after.traffic == EndpointRecord.of(after.tags).written_traffic else "it wrote no step"
    if outcome.exit_code not in (1, 2, 3, 5):
        return f"it ended with exit code {outcome.exit_code}"
    # Live traffic has passed: what failed is only to confirm that, or to delete what was replaced.
    is_promoted = LIVE_TEST_PASSED.search(outcome.log) is not None
    expected = {name: 100 for name in after.online_deployments if name not in before.traffic}
    if after.traffic != (expected if is_promoted else before.traffic):
        return f"traffic was {before.traffic} and is {after.traffic}"
    dossier = lab.dossier(outcome) or ""
    if outcome.error.partition(": ")[2].splitlines()[0] not in dossier:
        return f"its dossier does not say why it failed: {dossier[:300]!r}"
    return ""


def judge_promoted(after: Seen, before: Seen) -> str:
    """Return the problem after a successful rollout, or an empty text."""
    names = list(after.online_deployments)
    if after.traffic != dict.fromkeys(names, 100) or set(names) == set(before.traffic):
        return f"one new online deployment should serve: {after}"
    if set(after.online_deployments.values()) != {"Succeeded"}:
        return f"it is not ready: {after}"
    return "" if after.is_free else f"the endpoint is not given back: {after.tags}"
