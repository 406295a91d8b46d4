"""Environments on several Pythons, from the real package index, in containers of Microsoft's inference server."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollway.emulator.runtime.container import Container, ContainerSpec, ContainerState
from rollway.emulator.runtime.images import ImageRecipe, build_image

DEADLINE_SECONDS = 60
SCRIPT = """
import sys
from importlib.metadata import version

import numpy, pip, pkg_resources, setuptools, wheel

def init(): pass

def run(data):
    names = ("numpy", "numexpr", "azureml-inference-server-http", "setuptools")
    return {"python": "%d.%d" % sys.version_info[:2], "home": pkg_resources.__name__, **{n: version(n) for n in names}}
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


@pytest.mark.parametrize(
    ("python", "package", "numpy"),
    [
        ("3.9", "numexpr=2.8.4", "1.23"),  # October 2022
        ("3.11", "numexpr=2.8.4", "1.24"),  # packages for Python 3.11: January 2023
        ("3.12", "numexpr=2.8.7", "1.26"),  # October 2023
    ],
)
def test_an_environment_has_the_python_that_it_asks_for(python: str, package: str, numpy: str, tmp_path: Path) -> None:
    if not is_on_this_machine(python):
        pytest.skip(f"Python {python} is not on this machine")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/score.py").write_text(SCRIPT)
    conda = f"dependencies: [python={python}, pip, {package}, {{pip: [azureml-inference-server-http]}}]"
    log: list[str] = []
    environment = asyncio.run(build_image(ImageRecipe(None, conda), tmp_path / "cache", log.append))
    # The path is too long for a socket of gunicorn in the home folder.
    root = tmp_path / ("long" * 30)
    spec = ContainerSpec(
        "endpoint/blue/0", environment / "bin/python", root, tmp_path / "code", "score.py", None, "none", "0", {}, 5
    )

    answer, container_log = asyncio.run(score(spec))

    assert answer["python"] == python
    assert re.match(rf"{numpy}\.", answer["numpy"]), log
    assert answer["numexpr"] == package.partition("=")[2]
    assert "AF_UNIX" not in container_log
