"""The house: every module in a room, every import declared, nothing of ours in the way of a distribution."""

import ast
import functools
import importlib.util
import inspect
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import prefect
import pytest
import yaml

ROOT = Path(__file__).parents[2]
OURS = ("rollway", "flows", "tasks")
IN_CONTAINERS = {"mlflow_score_script.py"}  # runs in the environment of a model, with the packages of that one
LOOSE = {"__init__", "__main__", "cli", "errors", "imports", "masking", "settings", "terminal"}
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


@functools.cache
def distributions() -> dict[str, list[str]]:
    """The distributions of each importable top-level name."""
    return dict(metadata.packages_distributions())


def contract(name: str) -> dict[str, Any]:
    """The import-linter contract whose name begins like that."""
    (found,) = [one for one in PYPROJECT["tool"]["importlinter"]["contracts"] if one["name"].startswith(name)]
    return dict(found)


def test_nothing_is_loose_in_rollway() -> None:
    modules = {path.stem for path in (ROOT / "rollway").glob("*.py")}

    assert modules == LOOSE


def test_every_room_is_in_the_one_way_rule() -> None:
    rooms = {path.parent.name for path in (ROOT / "rollway").glob("*/__init__.py")} | (LOOSE - {"__init__", "__main__"})
    named = re.findall(r"rollway\.(\w+)", " ".join(contract("One way")["layers"]))

    assert set(named) == rooms - {"emulator"}, "the emulator has contracts of its own"


def test_every_module_of_tasks_has_a_task() -> None:
    modules = [path.stem for path in (ROOT / "tasks").glob("*.py") if path.stem != "__init__"]
    without = [
        name
        for name in modules
        if not any(isinstance(one, prefect.Task) for one in vars(import_module(f"tasks.{name}")).values())
    ]

    assert modules
    assert without == []


def test_flow_files_hold_flows_and_no_classes() -> None:
    for path in (ROOT / "flows").glob("*.py"):
        tree = ast.parse(path.read_text())
        assert [one.name for one in ast.walk(tree) if isinstance(one, ast.ClassDef)] == [], path.name
        if path.stem != "__init__":
            module = import_module(f"flows.{path.stem}")
            assert len(inspect.getmembers(module, lambda one: isinstance(one, prefect.Flow))) == 1, path.name


def folders_on_the_path() -> set[Path]:
    """The folders that Prefect puts on sys.path, and leaves there: those of entrypoints."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    return {(ROOT / one["entrypoint"].partition(":")[0]).parent for one in deployments}


def test_no_folder_on_the_path_hides_a_distribution_or_another_module() -> None:
    folders = folders_on_the_path()
    taken = {*distributions(), *sys.stdlib_module_names, *OURS, "tests", "scoring", "benchmarks"}
    names = {path.stem for folder in folders for path in folder.iterdir() if path.stem != "__init__"}

    assert folders == {ROOT / "flows"}
    assert names & taken == set()


def test_blocks_are_registered_by_module_because_a_file_puts_its_folder_on_the_path() -> None:
    texts = [path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("rollway/**/*.py")]]

    assert re.findall(r"block register -f \S+", "\n".join(texts)) == []


def imports(paths: Iterable[Path]) -> Iterator[str]:
    """The modules that files import, without those of ours and of the standard library."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if name.partition(".")[0] not in (*sys.stdlib_module_names, *OURS):
                    yield name


def distribution_of(module: str) -> str:
    """The distribution that a module comes from; azure.* is shared by many, which are named like their module."""
    parts = module.split(".")
    if parts[0] == "azure":
        known = {name.lower() for names in distributions().values() for name in names}
        return next("-".join(parts[:end]) for end in range(len(parts), 0, -1) if "-".join(parts[:end]) in known)
    (name,) = set(distributions()[parts[0]])
    return name.lower().replace("_", "-")


def declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[ ]", one)[0].lower() for one in requirements}


@pytest.mark.parametrize("room", ["rollway", "local", "emulator"])
def test_everything_that_is_imported_is_declared(room: str) -> None:
    folders = {name: ROOT / "rollway" / name for name in ("local", "emulator")}
    if room == "rollway":
        paths = [path for path in (ROOT / "rollway").rglob("*.py") if not set(path.parents) & set(folders.values())]
        paths += [*(ROOT / "flows").glob("*.py"), *(ROOT / "tasks").glob("*.py")]
    else:
        paths = [path for path in folders[room].rglob("*.py") if path.name not in IN_CONTAINERS]
    wanted = declared(PYPROJECT["project"]["dependencies"])
    if room != "rollway":
        wanted |= declared(PYPROJECT["project"]["optional-dependencies"]["emulator"])
    if room == "emulator":
        wanted.add("pytest")  # of the fixtures, for projects that have it

    missing = {name for module in set(imports(paths)) if (name := distribution_of(module)) not in wanted}

    assert missing - {"pydantic-core"} == set(), "pydantic-core comes with pydantic, in the one version that fits"


def test_the_emulator_is_optional_in_the_command_line() -> None:
    tree = ast.parse((ROOT / "rollway" / "cli.py").read_text())
    at_import = [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]

    assert [name for name in at_import if name.startswith(("rollway.emulator", "flows", "tasks"))] == []
    assert importlib.util.find_spec("rollway.emulator.cli") is not None
