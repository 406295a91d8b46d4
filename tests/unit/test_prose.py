"""Docstrings are imperative or a noun phrase."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("rollway", "tasks", "flows", "scoring", "tests", "benchmarks")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield the place and the text of every docstring."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
                    yield f"{path.relative_to(ROOT)}: {getattr(node, 'name', 'module')}", text


def test_no_docstring_begins_with_a_question_word() -> None:
    riddles = [place for place, text in docstrings() if re.match(r"(What|Whether|How)\b", text)]

    assert riddles == []
