"""The steps of docs/ci/, run as their services run them: on a pull request, and after the merge."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.world import Rollout, World

DOCS = Path(__file__).parents[2] / "docs/ci"
ROLL_OUT = "roll out"


@dataclass(frozen=True)
class Step:
    """A step that runs commands: its name, script and variables, and whether it runs on pull requests or after them."""

    name: str
    script: str
    variables: Mapping[str, str]
    condition: str

    def is_for(self, event: str, *, after_failure: bool) -> bool:
        """Return True if it runs on that event, `pull_request` or `push`, and after a step that failed."""
        if after_failure and "!cancelled()" not in self.condition:
            return False
        only_merges = "'push'" in self.condition or "ne(" in self.condition
        only_requests = "'pull_request'" in self.condition
        return not (only_merges and event == "pull_request") and not (only_requests and event == "push")


def steps_of(file: str) -> list[Step]:
    """Return the steps of a file, without the one that installs."""
    document = yaml.safe_load((DOCS / file).read_text())
    jobs = document["jobs"]
    (job,) = jobs if isinstance(jobs, list) else jobs.values()
    found = [_step(one) for one in job["steps"]]
    assert any(one and one.script == "make .venv/ready" for one in found)
    return [one for one in found if one and one.name != "install"]


def _step(step: Mapping[str, Any]) -> Step | None:
    script = step.get("run") or step.get("script") or step.get("inputs", {}).get("inlineScript")
    if not script:
        return None
    variables = {name: str(value) for name, value in step.get("env", {}).items()}
    return Step(
        name=step.get("name") or step["displayName"],
        script=re.sub(r"\$\{\{.*?\}\}", "7", str(script)).strip(),
        variables=variables,
        condition=str(step.get("if") or step.get("condition") or ""),
    )


class Repository:
    """A clone on a runner, with one rollout folder; `gh` writes down what it is called with."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self._world = folder, world
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/gh").write_text('#!/bin/sh\necho "$@" >> gh.txt\n')
        (folder / "bin/gh").chmod(0o755)
        (folder / ".venv/bin").mkdir(parents=True)
        (folder / ".venv/bin/rollway").write_text(f'#!/bin/sh\nexec {world.python} -m rollway "$@"\n')
        (folder / ".venv/bin/rollway").chmod(0o755)
        (folder / ".gitignore").write_text("*.txt\n*.md\n.venv\nbin\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def git(self, *arguments: str) -> str:
        """Run git; return its output."""
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=self.folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")

    def run(self, file: str, event: str) -> subprocess.CompletedProcess[str] | None:
        """Run the steps of an event; return the first that fails, or None."""
        services = {
            "BASE": self.git("rev-parse", "HEAD~1"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.txt"),
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            **({"SYSTEM_PULLREQUEST_TARGETBRANCH": "refs/heads/main"} if event == "pull_request" else {}),
        }
        failed: subprocess.CompletedProcess[str] | None = None
        for step in steps_of(file):
            if not step.is_for(event, after_failure=failed is not None):
                continue
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", step.script],
                cwd=self.folder,
                env={**self._world.variables, **services, **step.variables},
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            if done.returncode:
                failed = failed or done
        return failed


@pytest.fixture
def rollout(world: World) -> Rollout:
    """A folder that is not written yet."""
    return world.make_rollout()


@pytest.fixture
def repository(world: World, rollout: Rollout, tmp_path: Path) -> Repository:
    """A repository whose last commit added the rollout's folder."""
    made = Repository(tmp_path / "repository", world)
    made.git("update-ref", "refs/remotes/origin/main", "HEAD")
    rollout.folder = made.folder / "deployments" / rollout.name
    rollout.write()
    made.commit()
    return made


@pytest.mark.parametrize("file", ["github-actions.yml", "azure-pipelines.yml"])
def test_a_pull_request_is_planned_and_its_merge_rolls_out(
    file: str, repository: Repository, rollout: Rollout, world: World
) -> None:
    assert repository.run(file, "pull_request") is None
    assert (repository.folder / "folders.txt").read_text() == f"deployments/{rollout.name}\n"
    assert f"Endpoint `{rollout.name}`" in (repository.folder / "plan.md").read_text()
    assert rollout.name not in world.rest.endpoints(), "a pull request changes nothing"
    if file.startswith("github"):
        assert (repository.folder / "gh.txt").read_text().startswith("pr comment 7 --body-file plan.md")

    assert repository.run(file, "push") is None
    assert rollout.name in world.rest.endpoints()


@pytest.mark.parametrize("file", ["github-actions.yml", "azure-pipelines.yml"])
def test_an_invalid_folder_stops_before_the_sign_in(file: str, repository: Repository, rollout: Rollout) -> None:
    rollout.rollout["strategy"] = "canary"
    rollout.write()
    repository.commit()

    failed = repository.run(file, "push")

    assert failed is not None
    assert "strategy" in failed.stderr
    assert not (repository.folder / "plan.md").exists()


@pytest.mark.parametrize("file", ["github-actions.yml", "azure-pipelines.yml"])
def test_what_stops_a_rollout_is_shown_and_nothing_is_rolled_out(
    file: str, repository: Repository, rollout: Rollout, world: World
) -> None:
    rollout.online_deployment["instance_type"] = "Standard_DS9_v9"
    rollout.write()
    repository.commit()

    planned = repository.run(file, "pull_request")

    assert planned is not None
    assert "blocker" in (repository.folder / "plan.md").read_text()
    if file.startswith("github"):
        assert "blocker" in (repository.folder / "summary.txt").read_text()
        assert (repository.folder / "gh.txt").read_text().startswith("pr comment 7 --body-file plan.md")
    else:
        assert "##vso[task.uploadsummary]" in planned.stdout

    assert repository.run(file, "push") is not None
    assert rollout.name not in world.rest.endpoints()


@pytest.mark.parametrize("file", ["github-actions.yml", "azure-pipelines.yml"])
def test_a_change_of_other_files_concerns_no_folder(file: str, repository: Repository) -> None:
    (repository.folder / "notes").write_text("x")
    repository.commit()

    assert repository.run(file, "push") is None
    assert (repository.folder / "folders.txt").read_text() == ""
