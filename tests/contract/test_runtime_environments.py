"""Environments on several Pythons, from the real package index, in containers of Microsoft's inference server."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollway.emulator.runtime import bootstrap
from rollway.emulator.runtime.container import Container, ContainerSpec, ContainerState
from rollway.emulator.runtime.images import ImageRecipe, build_image

DEADLINE_SECONDS = 180
SCRIPT = """
import sys
from importlib.metadata import version

import pkg_resources, setuptools  # before the others: setuptools replaces distutils
import bottleneck, pip, wheel

def init(): pass

def run(data):
    return {"python": "%d.%d" % sys.version_info[:2], "bottleneck": bottleneck.__version__, "numpy": version("numpy")}
"""


def is_on_this_machine(version: str) -> bool:
    """Tell if there is such a Python, without the code under test."""
    folders = Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin")
    programs = [*(str(folder / f"python{version}") for folder in folders), shutil.which(f"python{version}")]
    return any(program and not subprocess.call([program, "-c", ""], stderr=subprocess.DEVNULL) for program in programs)


async def score(spec: ContainerSpec) -> tuple[dict[str, Any], str]:
    """Start a container, send it one request and stop it; returns what it answers, and its log."""
    container = Container(spec)
    try:
        await container.start()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await container.refresh() is ContainerState.STARTING:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.02)
        assert container.state is ContainerState.READY, container.logs()
        async with httpx.AsyncClient(trust_env=False, timeout=DEADLINE_SECONDS) as client:
            answer = await client.post(f"http://127.0.0.1:{container.port}/score", json={})
        return answer.json(), container.logs()
    finally:
        await container.stop()


def build(python: str, conda: str, folder: Path) -> tuple[Path, list[str]]:
    """Build an environment beside a scoring script; returns its interpreter and the build log."""
    if not is_on_this_machine(python):
        pytest.skip(f"Python {python} is not on this machine")
    (folder / "code").mkdir()
    (folder / "code/score.py").write_text(SCRIPT)
    log: list[str] = []
    environment = asyncio.run(build_image(ImageRecipe(None, conda), folder / "cache", log.append))
    return environment / "bin/python", log


@pytest.mark.parametrize(
    ("python", "bottleneck", "numpy"),
    [
        ("3.9", "1.3.7", "1.24"),  # March 2023
        ("3.11", "1.3.7", "1.24"),
        ("3.12", "1.3.8", "1.26"),  # February 2024
    ],
)
def test_an_environment_has_the_python_that_it_asks_for(
    python: str, bottleneck: str, numpy: str, tmp_path: Path
) -> None:
    interpreter, log = build(python, f"dependencies: [python={python}, pip, bottleneck={bottleneck}]", tmp_path)

    command = [str(interpreter), "-c", "import json, score; print(json.dumps(score.run({})))"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, cwd=tmp_path / "code").stdout)

    assert (found["python"], found["bottleneck"]) == (python, bottleneck)
    assert found["numpy"].startswith(f"{numpy}."), log


def test_the_inference_server_of_that_time_serves_on_an_older_python(tmp_path: Path) -> None:
    conda = "dependencies: [python=3.9, pip, bottleneck=1.3.7, {pip: [azureml-inference-server-http]}]"
    interpreter, _ = build("3.9", conda, tmp_path)
    spec = ContainerSpec(
        "endpoint/blue/0", interpreter, tmp_path / "app", tmp_path / "code", "score.py", None, "none", "0", {}, 5
    )

    answer, log = asyncio.run(score(spec))

    assert (answer["python"], answer["numpy"]) == ("3.9", "1.24.2")
    assert "Azure ML Inferencing HTTP server v0.8" in log


@pytest.mark.parametrize("module", ["__main__", "amlserver"])
def test_a_server_that_cannot_be_run_as_a_package_is_run_by_its_module(module: str, tmp_path: Path) -> None:
    package = tmp_path / "azureml_inference_server_http"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / f"{module}.py").write_text("if __name__ == '__main__': print('started', __spec__.name)")

    assert start_server(tmp_path) == f"started azureml_inference_server_http.{module}\n"


@pytest.mark.parametrize("is_hidden", [True, False])
def test_an_older_server_finds_its_part_of_azureml_beside_the_data_collector(is_hidden: bool, tmp_path: Path) -> None:
    package, contrib = tmp_path / "azureml_inference_server_http", "server/azureml/contrib/services"
    (package / contrib).mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / contrib / "aml_request.py").write_text("VALUE = 'the server has it'")
    (package / "__main__.py").write_text(
        "import os, sys\nsys.path.append(os.path.join(os.path.dirname(__file__), 'server'))\n"
        "from azureml.contrib.services.aml_request import VALUE\nprint(VALUE)\n"
    )
    if is_hidden:
        (tmp_path / "azureml").mkdir()
        (tmp_path / "azureml/__init__.py").touch()

    assert start_server(tmp_path) == "the server has it\n"


def start_server(folder: Path) -> str:
    """Start the server whose package is in a folder, and return what it prints."""
    lifeline, emulator = os.pipe()  # the end of the pipe would kill the server
    with socket.socket() as listener:
        done = subprocess.run(
            [sys.executable, bootstrap.__file__],
            cwd=folder,
            env=os.environ | {"ROLLWAY_SOCKET": str(listener.fileno())},
            pass_fds=(listener.fileno(),),
            stdin=lifeline,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
            check=True,
        )
    os.close(lifeline)
    os.close(emulator)
    return done.stdout
