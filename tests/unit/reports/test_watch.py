"""The watcher's table, and which folders are newly broken."""

import pytest

from rollway.reports.watch import COLUMNS, newly_broken, watch_table
from rollway.rollout.follow import Skipped
from rollway.rollout.watch import Finding, Look, Verdict, broken
from rollway.settings import Workspace

FOUND = Look(
    rollout="diabetes",
    finding=Finding(
        rollout="diabetes",
        endpoint="diabetes",
        workspace=Workspace(subscription_id="s", resource_group="rg", name="ws"),
        model="diabetes",
        version="2",
        live_version="1",
        verdict=Verdict.START,
        reason="newest version",
        skipped=(Skipped(version="3", reason="it is archived"), Skipped(version="4", reason="its stage is x, not y")),
        run="a-run",
    ),
)
BROKEN = broken("broken", ValueError("operation 8a2f61f0-9b1c-4f7e-8d5e-0123456789ab: retry after 37 s"))


def test_every_rollout_has_a_row_and_every_row_has_the_same_columns() -> None:
    found, lost = watch_table([FOUND, BROKEN])

    assert found == {
        "rollout": "diabetes",
        "verdict": "start",
        "reason": "newest version",
        "model": "diabetes",
        "live": "1",
        "version": "2",
        "skipped": "3: it is archived; 4: its stage is x, not y",
        "flow run": "a-run",
    }
    assert (lost["rollout"], lost["verdict"], lost["reason"]) == ("broken", "error", BROKEN.error)
    assert tuple(found) == tuple(lost) == COLUMNS


@pytest.mark.parametrize(
    ("before", "is_news"),
    [
        ([], True),
        ([FOUND], True),
        ([BROKEN], False),
        ([broken("broken", ValueError("operation 0000aaaa-0000-0000-0000-000000000000: retry after 2 s"))], False),
        ([broken("broken", ValueError("smoke_test: Field required"))], True),
        ([broken("another", ValueError(BROKEN.error))], True),
    ],
    ids=["first look", "it was fine", "the same", "other numbers", "another error", "another folder"],
)
def test_a_broken_folder_is_news_only_with_a_new_error(before: list[Look], is_news: bool) -> None:
    assert newly_broken([FOUND, BROKEN], watch_table(before)) == ((BROKEN,) if is_news else ())


def test_an_unreadable_workspace_is_told_by_the_failed_run_and_not_by_its_folders() -> None:
    assert newly_broken([broken("diabetes", ValueError("gone"), is_unreadable=True)], []) == ()
