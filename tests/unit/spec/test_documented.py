"""The keys of rollout.yml and their defaults, as the pages list them."""

import json
import re
from pathlib import Path

from rollway.spec import RolloutFile

DOCS = Path(__file__).parents[3] / "docs"


def documented_keys(page: str, heading: str, column: int) -> dict[str, str]:
    """Return the keys of a table with what a column says of each; `steps[].weight` belongs to `steps`."""
    _, found, rest = (DOCS / page).read_text().partition(f"{heading}\n")
    assert found, f"{page} has no table {heading}"
    table, _, _ = rest.partition("\n\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[1:]]
    return {key: cells[column] for cells in reversed(rows) for key in re.findall(r"^`(\w+)", cells[0])}


def test_every_key_of_rollout_yml_is_in_one_of_two_tables() -> None:
    common = documented_keys("your-own-model.md", "| key of `rollout.yml` | default | meaning |", 1)
    progressive = documented_keys("progressive-reference.md", "| key | unit | default | meaning |", 2)

    assert {*common, *progressive} == {*RolloutFile.model_fields}
    assert not {*common} & {*progressive}


def test_plain_defaults_are_those_of_the_code() -> None:
    tables = {
        **documented_keys("your-own-model.md", "| key of `rollout.yml` | default | meaning |", 1),
        **documented_keys("progressive-reference.md", "| key | unit | default | meaning |", 2),
    }
    plain = {
        key: field.default for key, field in RolloutFile.model_fields.items() if isinstance(field.default, str | int)
    }

    assert len(plain) >= 7
    for key, default in plain.items():
        expected = default if isinstance(default, str) else json.dumps(default)
        assert tables[key].split(" (")[0].strip("`") == expected, key
