"""The wheel in an environment of its own, used from a directory that is not a checkout."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import uv

from rollway.emulator.testing import own_environment
from tests.support.emulator_process import REPOSITORY


class Installed:
    """The wheel's `rollway` command, run in a folder that holds a rollout and nothing else."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder
        # Without the checkout: neither PYTHONPATH nor an activated environment may lend it to the wheel.
        hidden = ("PYTHONPATH", "VIRTUAL_ENV", "PREFECT_API_URL", "PREFECT_API_KEY")
        self.environment = {name: value for name, value in own_environment().items() if name not in hidden}

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `rollway` with these arguments."""
        return [str(self.python.with_name("rollway")), *arguments]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `rollway` to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, built and installed with its `emulator` extra in the versions of requirements.lock."""
    folder = tmp_path_factory.mktemp("wheel")
    tool = uv.find_uv_bin()

    def run(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
        assert done.returncode == 0, done.stderr

    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    (wheel,) = folder.glob("*.whl")
    run(tool, "venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
    python = folder / "venv" / "bin" / "python"
    lock = str(REPOSITORY / "requirements.lock")
    run(tool, "pip", "install", "--quiet", "--python", str(python), "--constraint", lock, f"{wheel}[emulator]")
    rollout = folder / "elsewhere" / "deployments" / "diabetes"
    shutil.copytree(REPOSITORY / "deployments" / "diabetes", rollout)
    shutil.copytree(REPOSITORY / "scoring", folder / "elsewhere" / "scoring")
    (rollout / "model.joblib").write_bytes(b"a model")
    description = rollout / "deployment.yml"
    description.write_text(description.read_text().replace("azureml:diabetes@latest", "{name: m, path: model.joblib}"))
    return Installed(python, folder / "elsewhere")


@pytest.fixture(scope="module")
def azure(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of an emulator that runs from the wheel."""
    state = str(tmp_path_factory.mktemp("emulator"))
    process = subprocess.Popen(
        installed.command("emulator", "up", "--state", state),
        cwd=installed.folder,
        env=installed.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("https://")
            answer = installed.run("emulator", "env", "--state", state, "--format", "json")
            yield json.loads(answer.stdout)
        finally:
            process.terminate()


def test_the_wheel_holds_the_package_and_nothing_else(installed: Installed) -> None:
    code = "import rollway, importlib.util as u; print(rollway.__file__, u.find_spec('flows'), u.find_spec('tests'))"
    done = subprocess.run(
        [str(installed.python), "-c", code],
        cwd=installed.folder,
        env=installed.environment,
        capture_output=True,
        text=True,
        check=True,
    )

    file, *others = done.stdout.split()
    assert Path(file).is_relative_to(installed.python.parents[1])
    assert others == ["None", "None"]


@pytest.mark.parametrize("command", ["new", "deploy", "webhook", "alerts", "emulator", "status", "logs", "doctor"])
def test_every_command_has_its_help(installed: Installed, command: str) -> None:
    done = installed.run(command, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: rollway {command}")


def test_a_folder_can_be_validated(installed: Installed) -> None:
    done = installed.run("validate", "diabetes")

    assert (done.returncode, done.stdout) == (0, "deployments/diabetes is valid\n"), done.stderr


def test_the_schema_can_be_printed(installed: Installed) -> None:
    done = installed.run("schema")

    assert done.returncode == 0
    assert done.stdout == (REPOSITORY / "deployments/schema/rollout.schema.json").read_text()


def test_a_rollout_can_be_planned(installed: Installed, azure: dict[str, str]) -> None:
    done = installed.run("plan", "diabetes", "--weight", "10", **azure)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("plan: create endpoint, create online deployment, wait until ready, smoke-test, ")


def test_the_status_can_be_read(installed: Installed, azure: dict[str, str]) -> None:
    done = installed.run("status", **azure)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("no endpoints in ")


@pytest.mark.parametrize("command", ["deploy diabetes", "rollback diabetes", "local demo", "local up"])
def test_a_command_that_needs_a_checkout_says_so(installed: Installed, command: str) -> None:
    done = installed.run(*command.split())

    name = command.removesuffix(" diabetes")
    assert (done.returncode, done.stdout) == (2, "")
    error, *rest = done.stderr.splitlines()
    assert error.startswith("error: `")
    assert error.endswith(f"/rollway {name}` runs only in a checkout of Rollway"), "the command can be pasted"
    assert rest == [
        f"  where: {installed.folder}",
        "  why: the flows and tasks that it runs are files of a checkout and not part of the installed package",
        "  try: clone the repository and run the command there",
    ]


def test_the_doctor_works_without_a_checkout_and_says_what_needs_one(installed: Installed) -> None:
    done = installed.run("doctor")

    lines = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert done.returncode == 2, done.stderr
    assert lines["versions"].startswith("ok "), lines["versions"]
    assert lines["checkout"].startswith("optional "), lines["checkout"]
    assert lines["workspace"].startswith("missing "), lines["workspace"]


def test_the_webhook_starts_and_asks_for_its_settings(installed: Installed) -> None:
    done = installed.run("webhook", ROLLWAY_WEBHOOK_SECRET="s" * 32)

    assert done.returncode == 2
    assert "error: no Prefect server is configured to notify of new models\n" in done.stderr


def test_the_alerts_need_only_a_server(installed: Installed) -> None:
    done = installed.run("alerts", HOME=str(installed.folder))

    assert done.returncode == 2
    assert "error: no Prefect server is configured, and only a permanent server can send alerts\n" in done.stderr
