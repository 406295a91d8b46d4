"""The tables of docs/how-it-works.md match the code."""

import itertools
import re
from importlib import import_module
from pathlib import Path

import prefect

from rollway.rollout import record

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table with that heading, one list per row."""
    _, found, rest = PAGE.partition(f"{heading}\n")
    assert found, f"docs/how-it-works.md has no table {heading}"
    table = list(itertools.takewhile(lambda line: line.startswith("|"), rest.splitlines()))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[1:]]


def all_tasks() -> list[prefect.Task[..., object]]:
    modules = [import_module(f"tasks.{path.stem}") for path in (ROOT / "tasks").glob("[!_]*.py")]
    return [one for module in modules for one in vars(module).values() if isinstance(one, prefect.Task)]


def test_every_task_is_documented_with_its_deadline_its_retries_and_whether_its_result_is_kept() -> None:
    documented = [
        (name, deadline, retries, kept)
        for name, _, deadline, retries, kept in rows("| task | what it does | deadline | retries | kept |")
    ]

    # The two tasks named "plan", of a rollout and of a rollback, share a row.
    actual = {
        (task.name, f"{task.timeout_seconds:g} s", str(task.retries), "yes" if task.persist_result else "no")
        for task in all_tasks()
    }
    assert sorted(documented) == sorted(actual)


def test_every_tag_of_the_record_is_documented() -> None:
    documented = [name.strip("`") for name, *_ in rows("| tag | on | content |")]

    names = {
        value for value in vars(record).values() if isinstance(value, str) and re.fullmatch("rollway:[a-z-]+", value)
    }
    assert sorted(documented) == sorted(names)
