"""Building environments: real virtual environments, made by uv."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rollway.emulator.runtime.images import ImageBuildFailed, ImageRecipe, build_image

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests/fixtures"
EMPTY = ImageRecipe(None, "dependencies: [python=3.11, pip]")
BUILDING = "Building a virtual environment"

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def run_python(environment: Path, code: str) -> str:
    return subprocess.run(
        [environment / "bin/python", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def suffixes(folder: Path) -> list[str]:
    return [path.suffix for path in folder.iterdir()]


async def test_the_packages_of_the_conda_file_are_installed_with_compiled_bytecode(tmp_path: Path) -> None:
    recipe = ImageRecipe(None, "dependencies: [iniconfig=2.0, {pip: ['colorama==0.4.6']}]")

    environment = await build_image(recipe, tmp_path, lambda _: None)

    code = "import iniconfig, colorama, os; print(colorama.__version__, os.path.exists(iniconfig.__cached__))"
    assert run_python(environment, code) == "0.4.6 True"


async def test_a_recipe_is_built_once(tmp_path: Path) -> None:
    log: list[str] = []

    first = await build_image(EMPTY, tmp_path, log.append)
    second = await build_image(EMPTY, tmp_path, log.append)

    assert first == second
    assert sum(line.startswith(BUILDING) for line in log) == 1


async def test_recipes_of_different_content_are_different_environments(tmp_path: Path) -> None:
    other = ImageRecipe(None, "dependencies: [python=3.11, pip, {pip: ['colorama==0.4.6']}]")

    assert await build_image(EMPTY, tmp_path, lambda _: None) != await build_image(other, tmp_path, lambda _: None)


async def test_a_build_context_is_built_again_when_a_file_of_it_changes(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM python:3.11\nRUN pip install -r requirements.txt\n")
    (context / "requirements.txt").write_text("-r more.txt\n")
    recipe = ImageRecipe(None, None, context)
    environments = []

    for more in ("colorama==0.4.5", "colorama==0.4.6"):
        (context / "more.txt").write_text(more)
        environments.append(await build_image(recipe, tmp_path / "cache", lambda _: None))

    versions = [run_python(path, "import colorama; print(colorama.__version__)") for path in environments]
    assert versions == ["0.4.5", "0.4.6"]


async def test_tasks_that_build_the_same_at_once_build_it_once(tmp_path: Path) -> None:
    log: list[str] = []

    environments = await asyncio.gather(*(build_image(EMPTY, tmp_path, log.append) for _ in range(4)))

    assert len(set(environments)) == 1
    assert sum(line.startswith(BUILDING) for line in log) == 1


def test_processes_that_build_the_same_at_once_build_it_once(tmp_path: Path) -> None:
    code = (
        "import asyncio, pathlib, sys; from rollway.emulator.runtime.images import *;"
        f"print(asyncio.run(build_image(ImageRecipe(None, {EMPTY.conda_file!r}), pathlib.Path(sys.argv[1]), print)))"
    )
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(3)]

    outputs = [process.communicate()[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({output.splitlines()[-1] for output in outputs}) == 1
    assert sum(BUILDING in output for output in outputs) == 1


async def test_what_a_killed_build_has_left_is_not_taken_for_ready(tmp_path: Path) -> None:
    environment = await build_image(EMPTY, tmp_path, lambda _: None)
    (environment.parent / "ready").unlink()
    (environment / "half-written").touch()

    again = await build_image(EMPTY, tmp_path, lambda _: None)

    assert again == environment
    assert not (environment / "half-written").exists()


def test_after_a_build_killed_at_work_the_next_one_waits_for_its_leftovers_and_succeeds(tmp_path: Path) -> None:
    conda = "dependencies: [{pip: ['azureml-inference-server-http>=1.5']}]"
    code = (
        "import asyncio, pathlib, sys; from rollway.emulator.runtime.images import *;"
        "show = lambda line: print(line, flush=True);"
        f"asyncio.run(build_image(ImageRecipe(None, {conda!r}), pathlib.Path(sys.argv[1]), show))"
    )
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert any(line.startswith(b"Resolved") for line in process.stdout)  # uv is at work
        process.kill()

    environment = asyncio.run(build_image(ImageRecipe(None, conda), tmp_path, lambda _: None))

    assert run_python(environment, "import azureml_inference_server_http as server; print(server.__name__)")


def test_a_killed_build_leaves_no_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as never_answers:
        url = f"http://127.0.0.1:{never_answers.getsockname()[1]}/slow-1.0-py3-none-any.whl"
        code = (
            "import asyncio, pathlib, sys; from rollway.emulator.runtime.images import *;"
            f"recipe = ImageRecipe(None, 'dependencies: [{{pip: [\"slow @ {url}\"]}}]');"
            "asyncio.run(build_image(recipe, pathlib.Path(sys.argv[1]), print))"
        )
        command = [sys.executable, "-c", code, str(tmp_path)]
        environ = os.environ | {"PYTHONPATH": str(ROOT), "UV_HTTP_TIMEOUT": "3600"}
        with subprocess.Popen(command, env=environ) as process:
            asked, _ = never_answers.accept()  # uv waits for the package, for ever
            process.kill()

        with asked:
            asked.settimeout(120)  # uv itself would give up after an hour
            while asked.recv(4096):
                pass  # its request; then the end of the connection, which is the end of uv


async def test_an_environment_whose_python_has_been_removed_is_built_again(tmp_path: Path) -> None:
    environment = await build_image(EMPTY, tmp_path, lambda _: None)
    (environment / "bin/python").unlink()

    await build_image(EMPTY, tmp_path, lambda _: None)

    assert run_python(environment, "print('here')") == "here"


async def test_a_package_that_does_not_exist_fails_with_the_whole_build_log_and_is_not_cached(tmp_path: Path) -> None:
    recipe = ImageRecipe(None, (FIXTURES / "broken_conda.yaml").read_text())
    streamed: list[str] = []

    with pytest.raises(ImageBuildFailed) as failure:
        await build_image(recipe, tmp_path, streamed.append)

    assert failure.value.code == "ImageBuildFailure"
    assert "rollway-package-that-does-not-exist" in failure.value.log.split("No solution found", 1)[1]
    assert failure.value.log == "\n".join(streamed)
    assert suffixes(tmp_path) == [".lock"]


async def test_an_image_that_is_not_in_the_mapping_fails_as_one_that_cannot_be_pulled(tmp_path: Path) -> None:
    with pytest.raises(ImageBuildFailed) as failure:
        await build_image(ImageRecipe("registry.example.com/team/model:1", None), tmp_path, lambda _: None)

    assert failure.value.code == "BadArgument"
    assert "cannot be pulled" in str(failure.value)
    assert "cannot be pulled" in failure.value.log


async def test_a_cancelled_build_leaves_nothing_behind(tmp_path: Path) -> None:
    building = asyncio.Event()
    recipe = ImageRecipe(None, "dependencies: [{pip: ['azureml-inference-server-http']}]")
    task = asyncio.create_task(build_image(recipe, tmp_path, lambda _: building.set()))
    await building.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert suffixes(tmp_path) == [".lock"]
