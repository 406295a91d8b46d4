"""The choice of a fleet's folders: its waves are checked against all that there is."""

import asyncio
import inspect
import logging

import pytest

from rollway.errors import ConfigurationError
from rollway.prefect import watching
from rollway.rollout.fleet import Fleet
from tasks import fleet


def choose(monkeypatch: pytest.MonkeyPatch, pattern: str, *groups: str) -> Fleet:
    async def blocks() -> dict[str, str | None]:
        return {"team-1": "main", "other-1": "canary-region"}

    monkeypatch.setattr("rollway.prefect.fleet.require_workers", lambda: None)
    monkeypatch.setattr(fleet, "known_rollouts", lambda: ["other-1", "team-1", "team-2"])
    monkeypatch.setattr(fleet, "get_run_logger", lambda: logging.getLogger("run"))
    monkeypatch.setattr(watching, "workspace_blocks", blocks)
    chosen: Fleet = asyncio.run(inspect.unwrap(fleet.choose_folders.fn)(pattern, 5, 1, groups))
    return chosen


@pytest.mark.parametrize("group", ["other-*", "canary-region"])
def test_a_wave_may_name_what_only_other_fleets_have(monkeypatch: pytest.MonkeyPatch, group: str) -> None:
    chosen = choose(monkeypatch, "team-*", group, "team-2")

    assert [(one.rollout, one.wave) for one in chosen.members] == [("team-2", 1), ("team-1", 2)]


def test_a_misspelt_wave_ends_the_fleet_before_it_starts_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="matches 'canary-regoin', did you mean 'canary-region'"):
        choose(monkeypatch, "team-*", "canary-regoin", "rest")
