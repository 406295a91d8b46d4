"""Rollouts of many folders in waves."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.errors import ConfigurationError, FleetIncomplete
from rollway.rollout.fleet import Fleet, Member, Progress, fleet_of, matching, require_good_end

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NAMES = ("a-1", "a-2", "b-1", "b-2", "b-3")
BLOCKS = {"a-2": "canary-region", "b-3": "canary-region", "b-1": None, "b-2": "other", "c-1": "east"}


def waves_of(fleet: Fleet) -> list[list[str]]:
    return [[one.rollout for one in fleet.members if one.wave == wave] for wave in range(1, fleet.waves + 1)]


def ended(members: tuple[Member, ...], progress: Progress = Progress.DONE) -> list[Member]:
    return [one.model_copy(update={"progress": progress, "run": "id"}) for one in members]


def test_a_pattern_chooses_folders() -> None:
    assert matching("b-*", NAMES) == ("b-1", "b-2", "b-3")
    assert matching("*", NAMES) == NAMES


def test_a_pattern_without_folders_says_which_there_are() -> None:
    with pytest.raises(ConfigurationError) as caught:
        matching("team-*", NAMES)

    assert str(caught.value).splitlines() == [
        "no folder matches 'team-*'",
        "  where: pattern",
        "  why: there are a-1, a-2, b-1, b-2, b-3",
        "  try: use a pattern such as 'team-*'; `*` matches all",
    ]


def test_a_wave_has_at_most_so_many_folders() -> None:
    assert waves_of(fleet_of(NAMES, at_most=2)) == [["a-1", "a-2"], ["b-1", "b-2"], ["b-3"]]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (["b-*"], [["b-1", "b-2"], ["b-3"], ["a-1", "a-2"]]),
        (["rest", "a-*"], [["b-1", "b-2"], ["b-3"], ["a-1", "a-2"]]),
        (["canary-region", "rest"], [["a-2", "b-3"], ["a-1", "b-1"], ["b-2"]]),
        (["c-1", "east"], [["a-1", "a-2"], ["b-1", "b-2"], ["b-3"]]),
    ],
    ids=["folders", "rest first", "workspace block", "groups that only other fleets have"],
)
def test_groups_are_rolled_out_in_their_order_and_never_share_a_wave(
    groups: list[str], expected: list[list[str]]
) -> None:
    fleet = fleet_of(NAMES, at_most=2, groups=groups, blocks=BLOCKS, known=(*NAMES, "c-1"))

    assert waves_of(fleet) == expected


@pytest.mark.parametrize(
    ("groups", "what"),
    [
        (
            ["canary-regoin"],
            "no folder and no workspace block matches 'canary-regoin', did you mean 'canary-region'?",
        ),
        (["canary-region", "rset"], "no folder and no workspace block matches 'rset', did you mean 'rest'?"),
        (["A-*"], "no folder and no workspace block matches 'A-*'"),
        (["zz*"], "no folder and no workspace block matches 'zz*'"),
        ([""], "the pattern of a wave is empty"),
    ],
    ids=["workspace block", "rest", "case", "nothing like it", "empty"],
)
def test_a_group_that_nothing_can_belong_to_is_refused_before_anything_starts(groups: list[str], what: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        fleet_of(NAMES[:2], at_most=2, groups=groups, blocks=BLOCKS, known=NAMES)

    assert str(caught.value).splitlines() == [
        what,
        "  where: waves",
        "  why: there are the folders a-1, a-2, b-1, b-2, b-3, and the workspace blocks canary-region, east, other",
        "  try: correct the pattern, or leave it out; `rest` stands for all folders that no other wave has",
    ]


def test_without_workspace_blocks_a_group_names_folders() -> None:
    with pytest.raises(ConfigurationError, match="there are the folders a-1, a-2, and no workspace blocks"):
        fleet_of(NAMES[:2], at_most=2, groups=["canary-region"])


@given(
    st.lists(st.sampled_from(NAMES), unique=True, min_size=1),
    st.integers(1, 7),
    st.lists(st.sampled_from(["a-*", "b-1", "rest", "block", "*"]), max_size=4),
)
def test_every_folder_is_in_one_wave_and_no_wave_is_larger_than_told(
    names: list[str], at_most: int, groups: list[str]
) -> None:
    waves = waves_of(fleet_of(names, at_most=at_most, groups=groups, blocks={"a-1": "block"}, known=NAMES))

    assert sorted(one for wave in waves for one in wave) == sorted(names)
    assert all(0 < len(wave) <= at_most for wave in waves)


def test_a_wave_is_due_when_the_one_before_it_has_ended() -> None:
    fleet = fleet_of(NAMES, at_most=2)
    running = fleet.after(ended(fleet.due, Progress.RUNNING))
    second = running.after(ended(fleet.due))

    assert [one.rollout for one in fleet.due] == ["a-1", "a-2"]
    assert running.due == ()
    assert [one.rollout for one in second.due] == ["b-1", "b-2"]


@pytest.mark.parametrize("progress", [Progress.FAILED, Progress.HELD])
@pytest.mark.parametrize(("stop_after", "is_stopped"), [(1, True), (2, False)])
def test_a_fleet_stops_after_so_many_regressions(progress: Progress, stop_after: int, is_stopped: bool) -> None:
    fleet = fleet_of(NAMES, at_most=2, stop_after=stop_after)
    first, second = fleet.due

    after = fleet.after([*ended((first,), progress), *ended((second,))])

    assert (after.is_stopped, bool(after.due)) == (is_stopped, not is_stopped)


@given(st.integers(1, 5), st.integers(1, 6), st.lists(st.sampled_from(Progress), min_size=5, max_size=5))
def test_a_fleet_ends_whatever_its_rollouts_do(at_most: int, stop_after: int, ends: list[Progress]) -> None:
    fleet, steps = fleet_of(NAMES, at_most=at_most, stop_after=stop_after), 0
    good = {Progress.NOT_STARTED: Progress.DONE, Progress.RUNNING: Progress.DONE}
    while fleet.due:
        fleet = fleet.after([ended((one,), good.get(end, end))[0] for one, end in zip(fleet.due, ends, strict=False)])
        steps += 1
        assert steps <= len(NAMES)

    assert not fleet.due
    assert all(one.is_over or one.progress is Progress.NOT_STARTED for one in fleet.members)
    assert fleet.is_stopped or all(one.is_over for one in fleet.members)


def test_the_numbers_are_told_in_a_sentence() -> None:
    fleet = fleet_of(NAMES, at_most=2)
    stopped = fleet.after([*ended(fleet.due[:1], Progress.FAILED), *ended(fleet.due[1:])])

    assert fleet.sentence == "5 not started"
    assert stopped.sentence == "3 not started, 1 done, 1 failed; no further wave: 1 went wrong, and the limit is 1"


def test_a_fleet_in_which_a_rollout_went_wrong_ends_with_what_it_said() -> None:
    fleet = fleet_of(NAMES[:2], at_most=2)
    require_good_end(fleet.after(ended(fleet.due)))
    held = fleet.due[1].model_copy(update={"progress": Progress.HELD, "why": "hold: too few requests"})

    with pytest.raises(FleetIncomplete) as caught:
        require_good_end(fleet.after([*ended(fleet.due[:1]), held]))

    assert caught.value.what == "1 of 2 rollouts went wrong"
    assert caught.value.details == "  a-2: held, hold: too few requests"


def test_the_time_of_a_rollout_counts_from_its_start() -> None:
    started = Member(rollout="a", wave=1, started=NOON)

    assert Member(rollout="a", wave=1).seconds(NOON) is None
    assert started.seconds(NOON + timedelta(seconds=5)) == 5
    assert started.model_copy(update={"ended": NOON + timedelta(seconds=3)}).seconds(NOON + timedelta(days=1)) == 3
