"""The flow talks to a cloud, and does not know which."""

import re
from pathlib import Path

import pytest

from rollway.cli import schema

ROOT = Path(__file__).parents[2]
MODULES = [path for folder in ("flows", "tasks", "rollway/azure") for path in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_that_talks_to_azure_branches_on_the_emulator(path: Path) -> None:
    code = path.read_text().replace("rollway emulator up", "")  # what an error tells people to type

    assert "emulator" not in code.lower()
    assert "verify=False" not in code
    assert "localhost" not in code


def test_every_file_stays_below_400_lines() -> None:
    code = [
        path for folder in ("flows", "tasks", "rollway", "scoring", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in code}

    assert {name: lines for name, lines in long.items() if lines >= 400} == {}


def test_the_schema_file_is_the_one_that_the_code_gives(capsys: pytest.CaptureFixture[str]) -> None:
    schema()

    assert capsys.readouterr().out == (ROOT / "deployments/schema/rollout.schema.json").read_text()


def test_only_the_record_knows_the_names_of_its_tags() -> None:
    code = [path for folder in ("flows", "tasks", "rollway") for path in (ROOT / folder).rglob("*.py")]
    knowing = [str(path.relative_to(ROOT)) for path in code if re.search(r"""["'`]rollway:[a-z]""", path.read_text())]

    assert [name for name in knowing if not name.startswith("rollway/emulator/")] == ["rollway/rollout/record.py"]
