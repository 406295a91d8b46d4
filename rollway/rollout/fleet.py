"""Rollouts of many folders in waves: which are next, and whether they may begin."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Self

from pydantic import AwareDatetime

from rollway.errors import ConfigurationError, FleetIncomplete
from rollway.spec import Frozen, did_you_mean

REST = "rest"
DEFAULT_SIZE, DEFAULT_STOP = 20, 1  # folders of a wave; regressions that stop a fleet


class Progress(StrEnum):
    """The progress of the rollout of one folder."""

    NOT_STARTED = "not started"
    RUNNING = "running"
    DONE = "done"
    HELD = "held"
    FAILED = "failed"


class Member(Frozen):
    """The rollout of one folder in a fleet.

    Attributes:
        rollout: Name of the folder.
        wave: Number of its wave, from 1.
        progress: How far it is.
        run: Prefect's id of its flow run; None until it starts.
        why: The state of the run in words.
        started: When the run started, in UTC.
        ended: When it ended, in UTC.
    """

    rollout: str
    wave: int
    progress: Progress = Progress.NOT_STARTED
    run: str | None = None
    why: str = ""
    started: AwareDatetime | None = None
    ended: AwareDatetime | None = None

    @property
    def is_over(self) -> bool:
        """True if the run has ended, or waits for a person."""
        return self.progress in (Progress.DONE, Progress.HELD, Progress.FAILED)

    @property
    def is_regression(self) -> bool:
        """True if a person must look before more is rolled out."""
        return self.progress in (Progress.HELD, Progress.FAILED)

    def seconds(self, now: datetime) -> float | None:
        """Return how long its run has taken so far, in seconds; None before its start."""
        return None if self.started is None else ((self.ended or now) - self.started).total_seconds()


class Fleet(Frozen):
    """Rollouts of many folders, in the order of their waves.

    Attributes:
        members: The folders, wave by wave.
        stop_after: The number of regressions after which no further wave begins.
    """

    members: tuple[Member, ...]
    stop_after: int = DEFAULT_STOP

    @property
    def waves(self) -> int:
        """The number of waves."""
        return max((one.wave for one in self.members), default=0)

    @property
    def regressions(self) -> int:
        """The number of rollouts that failed or are held."""
        return sum(one.is_regression for one in self.members)

    @property
    def is_stopped(self) -> bool:
        """True if so many rollouts went wrong that no further wave begins."""
        return self.regressions >= self.stop_after

    @property
    def due(self) -> tuple[Member, ...]:
        """The members of the next wave, if the one before it has ended well enough; else none."""
        waiting = [one for one in self.members if one.progress is Progress.NOT_STARTED]
        if self.is_stopped or not waiting or any(one.progress is Progress.RUNNING for one in self.members):
            return ()
        return tuple(one for one in waiting if one.wave == waiting[0].wave)

    @property
    def sentence(self) -> str:
        """The numbers in words."""
        stopped = f"; no further wave: {self.regressions} went wrong, and the limit is {self.stop_after}"
        is_cut_short = self.is_stopped and any(one.progress is Progress.NOT_STARTED for one in self.members)
        return numbers(self.members) + (stopped if is_cut_short else "")

    def after(self, changed: Sequence[Member]) -> Self:
        """Return the fleet in which some members have changed."""
        by_name = {one.rollout: one for one in changed}
        return self.model_copy(update={"members": tuple(by_name.get(one.rollout, one) for one in self.members)})


def numbers(members: Sequence[Member]) -> str:
    """Return how many rollouts are how far, such as `3 not started, 1 done`."""
    counts = Counter(one.progress for one in members)
    return ", ".join(f"{counts[one]} {one.value}" for one in Progress if counts[one])


def require_good_end(fleet: Fleet) -> None:
    """Raise FleetIncomplete if a rollout failed or is held, with what each of them said."""
    wrong = [one for one in fleet.members if one.is_regression]
    if wrong:
        raise FleetIncomplete(
            f"{len(wrong)} of {len(fleet.members)} rollouts went wrong",
            where=f"folders {', '.join(one.rollout for one in wrong)}",
            why=fleet.sentence,
            hint="read the run of each, correct its cause, and start the fleet again: what is done has nothing to do",
            details="\n".join(f"  {one.rollout}: {one.progress.value}, {one.why}" for one in wrong),
        )


def is_pattern(text: str) -> bool:
    """Return True if a text is a pattern of folders and not the name or path of one."""
    return any(character in text for character in "*?[")


def matching(pattern: str, rollouts: Sequence[str]) -> tuple[str, ...]:
    """Return the folders whose names match a pattern with `*` and `?`; raises ConfigurationError if there are none."""
    found = tuple(one for one in sorted(rollouts) if fnmatchcase(one, pattern))
    if not found:
        raise ConfigurationError(
            f"no folder matches {pattern!r}",
            where="pattern",
            why=f"there are {', '.join(sorted(rollouts))}" if rollouts else "there are no folders",
            hint="use a pattern such as 'team-*'; `*` matches all",
        )
    return found


def fleet_of(
    rollouts: Sequence[str],
    *,
    at_most: int,
    stop_after: int = DEFAULT_STOP,
    groups: Sequence[str] = (),
    blocks: Mapping[str, str | None] | None = None,
    known: Sequence[str] = (),
) -> Fleet:
    """Return the fleet of some folders, of which at most so many are rolled out at once.

    Raises ConfigurationError for a group that nothing can belong to: a misspelt one would silently change the order.

    Args:
        rollouts: Names of the folders.
        at_most: The largest number of folders in a wave.
        stop_after: The number of regressions after which no further wave begins.
        groups: Patterns of workspace blocks or folders, in the order in which they are rolled out; `rest` stands for
            all others, and comes last if it is missing. No wave has folders of two groups.
        blocks: The workspace block of each folder that has one.
        known: All folders that there are, if the fleet has only some of them: a group may be absent from a fleet.
    """
    _require_groups(groups, {*rollouts, *known}, {one for one in (blocks or {}).values() if one})
    left, waves = list(rollouts), 0
    members: list[Member] = []
    ordered = [*groups, *([] if REST in groups else [REST])]
    for group in ordered:
        named = [one for one in ordered if one != REST] if group == REST else [group]
        of_group = [
            one
            for one in left
            if any(fnmatchcase(one, it) or fnmatchcase((blocks or {}).get(one) or "", it) for it in named)
            != (group == REST)
        ]
        left = [one for one in left if one not in of_group]
        for start in range(0, len(of_group), at_most):
            waves += 1
            members += [Member(rollout=one, wave=waves) for one in of_group[start : start + at_most]]
    return Fleet(members=tuple(members), stop_after=stop_after)


def _require_groups(groups: Sequence[str], folders: Set[str], blocks: Set[str]) -> None:
    """Raise ConfigurationError for a group that is empty, or that matches no folder and no workspace block."""
    for group in groups:
        if group == REST or any(fnmatchcase(one, group) for one in folders | blocks):
            continue
        close = did_you_mean(group, {*folders, *blocks, REST})
        raise ConfigurationError(
            f"no folder and no workspace block matches {group!r}{close}" if group else "the pattern of a wave is empty",
            where="waves",
            why=f"there are the folders {', '.join(sorted(folders))}, and "
            + (f"the workspace blocks {', '.join(sorted(blocks))}" if blocks else "no workspace blocks"),
            hint="correct the pattern, or leave it out; `rest` stands for all folders that no other wave has",
        )
