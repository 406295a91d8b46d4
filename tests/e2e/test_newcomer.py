"""The first hour of a newcomer: README and docs/your-own-model.md, word by word, in a fresh clone and an empty home."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uv

from rollway.emulator.state import environment_cache
from rollway.emulator.testing import own_environment
from rollway.local.ports import free_port
from tests.support import pages
from tests.support.clone import make_clone

README, PAGE = "README.md", "docs/your-own-model.md"
ON_AZURE = "Point it at your Azure subscription"
ONLY_AZURE = ("export AZURE_", "az login")  # `make up` gives the variables and the identity
ALLOWED_SECONDS = 800  # a busy machine is no failure


@dataclass(frozen=True)
class Shell:
    """A terminal in a fresh clone, in an empty home with the caches of this machine."""

    clone: Path
    environment: dict[str, str]
    port: int

    def run(self, commands: list[str]) -> list[tuple[str, int, str]]:
        """Run commands in one shell; return each with its exit code and output."""
        typed = pages.script([one.replace("4200", str(self.port)) for one in commands])
        done = subprocess.run(
            ["bash", "-c", typed],
            stdin=subprocess.DEVNULL,
            cwd=self.clone,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=ALLOWED_SECONDS,
            check=False,
        )
        return pages.results(done.stdout)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Nothing of it runs any more at the end."""
    port = free_port()
    (home := tmp_path / "home").mkdir()
    cache = subprocess.run([uv.find_uv_bin(), "cache", "dir"], capture_output=True, text=True, check=True)
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")
    environment = {
        **{name: value for name, value in own_environment().items() if name not in hidden},
        "HOME": str(home),
        "PORT": str(port),
        "ROLLWAY_CACHE": str(environment_cache().parent),
        "UV_CACHE_DIR": cache.stdout.strip(),
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }
    made = Shell(make_clone(tmp_path / "clone"), environment, port)
    yield made
    made.run(["make down"])


def test_the_documented_way_leads_from_a_clone_to_an_own_model_and_back(shell: Shell) -> None:
    for name, text in pages.files(PAGE).items():
        (shell.clone / name).write_text(text)
    start = pages.commands(PAGE, "Start")
    of_readme = [one for one in pages.commands(README, ON_AZURE) if not one.startswith(ONLY_AZURE)]
    typed = [*start, *of_readme, *pages.commands(PAGE)[len(start) :]]

    done = shell.run(typed)

    transcript = "\n".join(f"$ {command}\n{output}exit code {code}" for command, code, output in done)
    assert [command.replace(str(shell.port), "4200") for command, _, _ in done] == typed, transcript
    assert [(command, code) for command, code, _ in done if code] == [("rollway deploy deployments/progression", 3)]
    first, failed = (output for command, _, output in done if command == "rollway deploy deployments/progression")
    assert "progression: promoted" in first
    assert "NameError: name 'row' is not defined" in failed
    [before, now] = re.findall(r"traffic: before (.*); now (.*)", failed)[0]
    assert before == now
    for command, answer in pages.answers(PAGE):
        assert any(answer in output for one, _, output in done if one == command), f"{command}: {answer}\n{transcript}"
    assert "progression: rolled back" in next(text for one, _, text in done if one.startswith("rollway rollback"))
