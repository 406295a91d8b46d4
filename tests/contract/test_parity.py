"""docs/parity.md keeps its word: every claim names a test that witnesses it, and that test exists and runs."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONTRACT = Path(__file__).parent
PARITY = CONTRACT.parents[1] / "docs" / "parity.md"
WORDS = ("Real", "Emulated", "Absent")


@dataclass(frozen=True)
class Row:
    """A row of the table: what is claimed, its word, and the tests that witness it."""

    claim: str
    word: str
    witnesses: tuple[str, ...]


def read_rows(text: str) -> Iterator[Row]:
    """The rows of all tables of three columns, their heads left out."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if len(cells) == 3 and cells[2] != "witness" and set(cells[1]) - set(":-"):
            yield Row(cells[0], cells[1].partition(",")[0], tuple(re.findall(r"`(\w+)`", cells[2])))


def find_tests(folder: Path) -> set[str]:
    """The names of the tests in a folder; one that is always skipped witnesses nothing."""
    found = set()
    for path in folder.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                marks = {ast.unparse(one).partition("(")[0] for one in node.decorator_list}
                if not marks & {"pytest.mark.skip", "pytest.mark.xfail"}:
                    found.add(node.name)
    return found


def find_broken_claims(text: str, tests: set[str]) -> list[str]:
    """A line per claim that nothing witnesses, that names a test which is gone, or that has no known word."""
    broken = []
    for row in read_rows(text):
        if row.word not in WORDS:
            broken.append(f"{row.claim}: {row.word!r} is none of {', '.join(WORDS)}")
        if row.word != "Absent" and not row.witnesses:
            broken.append(f"{row.claim}: no witness")
        broken += [f"{row.claim}: {name} does not exist" for name in row.witnesses if name not in tests]
    return broken


def test_every_claim_has_a_witness_that_exists() -> None:
    text = PARITY.read_text()

    assert len(list(read_rows(text))) > 50
    assert find_broken_claims(text, find_tests(CONTRACT)) == []


def test_a_claim_without_a_witness_or_with_one_that_is_gone_is_found() -> None:
    table = """
| operation or rule | is | witness |
|---|---|---|
| kept | Real | `test_a` |
| bare | Emulated, our choice | |
| gone | Emulated | `test_a`, `test_b` |
| honest | Absent | |
| vague | Mostly | `test_a` |
"""

    assert find_broken_claims(table, {"test_a"}) == [
        "bare: no witness",
        "gone: test_b does not exist",
        "vague: 'Mostly' is none of Real, Emulated, Absent",
    ]


def test_no_operation_is_claimed_twice() -> None:
    claims = [row.claim for row in read_rows(PARITY.read_text())]

    assert {claim for claim in claims if claims.count(claim) > 1} == set()
