"""The tables of docs/how-it-works.md are those of the code."""

import itertools
import re
from importlib import import_module
from pathlib import Path

import prefect

from rollway.rollout import record

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-it-works.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table that begins with these columns."""
    _, _, rest = PAGE.partition(f"{heading}\n")
    lines = rest.splitlines()[1:]
    table = list(itertools.takewhile(lambda line: line.startswith("|"), lines))
    return [[cell.strip() for cell in re.split(r"(?<!\\\\)\|", line)[1:-1]] for line in table]


def test_every_task_is_documented_with_its_deadline_and_its_retries() -> None:
    documented = {
        name: (deadline, int(retries))
        for name, _, deadline, retries in rows("| task | what it does | deadline | retries |")
    }

    modules = [import_module(f"tasks.{path.stem}") for path in (ROOT / "tasks").glob("*.py") if path.stem != "__init__"]
    tasks = [one for module in modules for one in vars(module).values() if isinstance(one, prefect.Task)]
    assert documented == {task.name: (f"{task.timeout_seconds:.0f} s", task.retries) for task in tasks}


def test_every_tag_of_the_record_is_documented() -> None:
    documented = {name.strip("`") for name, *_ in rows("| tag | on | content |")}

    names = {
        value for value in vars(record).values() if isinstance(value, str) and re.fullmatch("rollway:[a-z-]+", value)
    }
    assert documented == names
