"""The tables of docs/how-it-works.md match the code."""

import itertools
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect import Task

from rollway.rollout import record
from tasks.moves import MOVES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
TAG = r"rollway:[a-z-]+"


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table with that heading, one list per row."""
    _, found, rest = PAGE.partition(f"{heading}\n")
    assert found, f"docs/how-it-works.md has no table {heading}"
    table = list(itertools.takewhile(lambda line: line.startswith("|"), rest.splitlines()))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[1:]]


def documented(one: Task[..., Any]) -> tuple[str, str, str]:
    """Return name, deadline and retries of a task as the page writes them."""
    return one.name, f"{one.timeout_seconds:.0f}", str(one.retries)


def other_tasks() -> list[Task[..., Any]]:
    """Return the tasks that are no moves."""
    modules = [import_module(f"tasks.{path.stem}") for path in (ROOT / "tasks").glob("[!_]*.py")]
    found = [one for module in modules for one in vars(module).values() if isinstance(one, Task)]
    return [one for one in found if one not in MOVES.values()]


def test_the_moves_are_documented_in_their_order_with_deadline_and_retries() -> None:
    table = [
        (name, deadline, retries) for name, _, deadline, retries in rows("| move | due when | deadline, s | retries |")
    ]

    assert table == [documented(one) for one in MOVES.values() if isinstance(one, Task)]
    assert len(table) == len(MOVES)


def test_every_other_task_is_documented_with_its_deadline_and_its_retries() -> None:
    table = [
        (re.sub(r"\[(.*)\]\(.*\)", r"\1", name), deadline, retries)
        for names, deadline, retries in rows("| tasks | deadline, s | retries |")
        for name in names.split(", ")
    ]

    assert sorted(table) == sorted({documented(one) for one in other_tasks()})


def test_every_tag_of_the_record_is_documented() -> None:
    tables = [rows(f"| tag of {place} | content |") for place in ("both", "the endpoint", "the online deployment")]
    documented_tags = [tag for cells in itertools.chain(*tables) for tag in re.findall(TAG, cells[0])]

    known = [value for value in vars(record).values() if isinstance(value, str) and re.fullmatch(TAG, value)]
    assert sorted(documented_tags) == sorted(known)
