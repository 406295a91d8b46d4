"""The worker image, as far as it can be judged without building it: its files run alone, on its packages alone."""

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", "").splitlines()
LOADED = """
import importlib, json, sys
from importlib.metadata import packages_distributions
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
ours = {name: sys.modules[name].__file__ for name in ("flows", "tasks", "rollway")}
known = packages_distributions()
new = {name.partition(".")[0] for name in {*sys.modules} - before}
print(json.dumps([ours, sorted({one for name in new for one in known.get(name, [])})]))
"""


def copied() -> list[str]:
    """Return the files that the Dockerfile copies from the checkout."""
    words = [line.split()[1:] for line in INSTRUCTIONS if line.startswith("COPY ") and "--from" not in line]
    return [source for line in words for source in line[:-1]]


def run_time_packages() -> set[str]:
    """The names of all that pyproject.toml asks for at run time, and of what that needs."""
    found: set[str] = set()
    wanted = [Requirement(one) for one in distribution("rollway").requires or [] if "extra ==" not in one]
    while wanted:
        requirement = wanted.pop()
        key = f"{canonicalize_name(requirement.name)}[{','.join(sorted(requirement.extras))}]"
        if key in found:
            continue
        found.add(key)
        for text in distribution(requirement.name).requires or []:
            inner = Requirement(text)
            extras = [{"extra": extra} for extra in ("", *requirement.extras)]
            if inner.marker is None or any(inner.marker.evaluate(one) for one in extras):
                wanted.append(inner)
    return {one.partition("[")[0] for one in found}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the working directory of the image."""
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    left_out = [rule for rule in rules if rule and rule != "*" and rule[0] not in "#!"]

    def ignored(folder: str, names: list[str]) -> set[str]:
        paths = {name: str(Path(folder, name).relative_to(ROOT)) for name in names}
        return {name for name, path in paths.items() for rule in left_out if fnmatch.fnmatch(path, rule)}

    folder = tmp_path_factory.mktemp("image")
    for source in copied():
        assert f"!{source}" in rules, f"{source} is not in the build context"
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / source, ignore=ignored)
        else:
            shutil.copy(ROOT / source, folder)
    return folder


def test_the_flows_of_prefect_yaml_need_only_what_the_image_has(image: Path) -> None:
    deployments = yaml.safe_load((image / "prefect.yaml").read_text())["deployments"]
    flows = {one["entrypoint"].partition(".py:")[0].replace("/", ".") for one in deployments}

    done = subprocess.run(
        [sys.executable, "-c", LOADED, *flows, "rollway.prefect.blocks", "rollway.cli"],
        cwd=image,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    ours, loaded = json.loads(done.stdout)
    assert {Path(file).parents[1] for file in ours.values()} == {image}
    assert {canonicalize_name(one) for one in loaded} - run_time_packages() <= {"rollway"}


def test_the_command_line_works_without_the_emulator(image: Path) -> None:
    assert not (image / "rollway/emulator").exists()

    done = subprocess.run(
        [sys.executable, "-m", "rollway", "validate", "deployments/diabetes"],
        cwd=image,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "deployments/diabetes is valid\n"), done.stderr


def test_everything_is_installed_by_hash_and_nothing_runs_as_root() -> None:
    installs = [part for line in INSTRUCTIONS for part in line.split("&&") if " pip install " in part]
    makefile = (ROOT / "Makefile").read_text().replace("$$", "$")
    bootstrap = re.search(r"sed -n '[^']+' requirements.lock", DOCKERFILE)

    assert len(installs) == 2
    assert all("--require-hashes" in one for one in installs)
    assert bootstrap is not None
    assert bootstrap.group() in makefile
    assert [line for line in INSTRUCTIONS if line.startswith("USER")] == ["USER 10001"]
    assert INSTRUCTIONS.index("USER 10001") > max(i for i, line in enumerate(INSTRUCTIONS) if line.startswith("RUN"))
