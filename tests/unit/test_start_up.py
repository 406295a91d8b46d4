"""Packages that take seconds to import, and the commands that do without them; benchmarks/imports.py measures them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from rollway.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert ended.code in (0, 2), ended.code  # 2: there is no workspace
print(*(name for name in ("prefect", "azure.ai.ml", "azure.mgmt.monitor", "uvicorn") if name in sys.modules), sep=",")
"""


@pytest.mark.parametrize(
    ("arguments", "imported"),
    [
        (("validate", "deployments/diabetes"), ""),
        (("validate",), ""),
        (("plan", "deployments/diabetes"), "azure.ai.ml"),
        (("status",), "azure.ai.ml"),
        (("schema",), ""),
        (("emulator", "env", "--state", "not-there"), ""),
    ],
    ids=" ".join,
)
def test_a_command_imports_only_what_it_needs(arguments: tuple[str, ...], imported: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AZURE", "ARM_", "ROLLWAY_"))}

    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], cwd=ROOT, env=kept, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == imported
