"""Instances of online deployments: real processes of Microsoft's inference server."""

# ruff: noqa: ASYNC110 - the end of a process that is nobody's child here can only be polled

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollway.emulator.runtime import container as container_module
from rollway.emulator.runtime.container import Container, ContainerSpec, ContainerState
from rollway.emulator.runtime.images import ImageRecipe, build_image
from rollway.emulator.state import environment_cache
from tests.support.processes import group_is_alive, wait_until_gone

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests/fixtures"
CONDA = (FIXTURES / "conda.yaml").read_text()
DEADLINE_SECONDS = 180

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with the inference server, which other tests need, too."""
    return asyncio.run(build_image(ImageRecipe(None, CONDA), environment_cache(), lambda _: None)) / "bin/python"


@pytest.fixture
def make_spec(python: Path, tmp_path: Path) -> Callable[..., ContainerSpec]:
    def make(code: Path | str, **changes: Any) -> ContainerSpec:
        defaults: dict[str, Any] = {
            "name": "endpoint/online-deployment/0",
            "python": python,
            "app_root": tmp_path / "app",
            "code": FIXTURES / code,
            "entry_script": "score.py",
            "model": None,
            "model_name": "model",
            "model_version": "7",
            "environment_variables": {},
            "request_timeout_seconds": 180,
        }
        return ContainerSpec(**(defaults | changes))

    return make


async def settle(container: Container) -> ContainerState:
    """The state once it is no longer starting."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (state := await container.refresh()) is ContainerState.STARTING:
            await asyncio.sleep(0.02)
    return state


@asynccontextmanager
async def running(spec: ContainerSpec) -> AsyncIterator[Container]:
    container = Container(spec)
    try:
        await container.start()
        assert await settle(container) is ContainerState.READY, container.logs()
        yield container
    finally:
        await container.stop()


@pytest.fixture
def make_slow(make_spec: Callable[..., ContainerSpec], tmp_path: Path) -> Callable[[int], ContainerSpec]:
    """The spec of a container whose model takes so many seconds, and tells `busy` when a request has arrived."""

    def make(seconds: int) -> ContainerSpec:
        variables = {"SLOW_SECONDS": str(seconds), "STARTED": str(tmp_path / "started")}
        return make_spec("slow", environment_variables=variables)

    return make


async def busy(container: Container) -> None:
    """Return once the model has the request that has been sent."""
    started = Path(container.spec.environment_variables["STARTED"])
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await asyncio.to_thread(started.exists):
            await asyncio.sleep(0.01)


async def score(container: Container, body: object) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=DEADLINE_SECONDS) as client:
        return await client.post(f"http://127.0.0.1:{container.port}/score", json=body)


def process_id(container: Container) -> int:
    process = container._process
    assert process is not None
    return process.pid


async def test_a_ready_container_scores_and_knows_its_model_version(make_spec: Callable[..., ContainerSpec]) -> None:
    async with running(make_spec("good")) as container:
        response = await score(container, {"data": [1]})

    assert response.status_code == 200
    assert response.json() == {"answer": 42, "echo": {"data": [1]}, "model_version": "7"}
    assert response.headers["x-ms-server-version"].startswith("azmlinfsrv/1.")


async def test_a_container_listens_on_loopback_only(make_spec: Callable[..., ContainerSpec]) -> None:
    async with running(make_spec("good")) as container:
        # Linux answers on all of 127/8 for a socket that is bound to every address, as the server's own would be.
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", container.port)


async def test_two_containers_with_the_same_spec_but_their_folder_run_side_by_side(
    make_spec: Callable[..., ContainerSpec], tmp_path: Path
) -> None:
    async with (
        running(make_spec("good", app_root=tmp_path / "0")) as first,
        running(make_spec("good", app_root=tmp_path / "1")) as second,
    ):
        responses = [await score(container, {}) for container in (first, second)]

    assert [response.status_code for response in responses] == [200, 200]
    assert first.port != second.port


async def test_a_folder_model_is_in_the_model_directory_under_its_own_name(
    make_spec: Callable[..., ContainerSpec],
) -> None:
    folder = FIXTURES / "mlflow_folder"
    spec = make_spec(folder / "code", model=folder / "model")

    async with running(spec) as container:
        response = await score(container, {"data": [0, 2.5]})

    assert response.json() == {"predictions": [1.0, 6.0]}
    assert (spec.app_root / "azureml-models/model/7/model/MLmodel").is_file()


async def test_a_file_model_is_in_the_model_directory_under_its_own_name(
    make_spec: Callable[..., ContainerSpec], tmp_path: Path
) -> None:
    model = tmp_path / "weights.bin"
    model.write_text("1 2 3")
    spec = make_spec("good", model=model)

    async with running(spec):
        assert (spec.app_root / "azureml-models/model/7/weights.bin").read_text() == "1 2 3"


async def test_what_a_container_writes_into_its_code_is_gone_when_it_starts_again_and_never_in_the_upload(
    make_spec: Callable[..., ContainerSpec], tmp_path: Path
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    script = "def init(): open(__file__, 'a').write('# once\\n')\ndef run(data): return open(__file__).read()\n"
    (code / "score.py").write_text(script)
    spec = make_spec(code)

    for _ in range(2):
        async with running(spec) as container:
            assert (await score(container, {})).json() == script + "# once\n"

    assert (code / "score.py").read_text() == script


async def test_the_container_sees_the_users_variables_and_nothing_of_the_emulators_azure_settings(
    make_spec: Callable[..., ContainerSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "score.py").write_text("import os\ndef init(): pass\ndef run(data): return dict(os.environ)\n")
    hidden = {"AZURE_CLIENT_SECRET", "ARM_CLOUD_METADATA_URL", "AZUREML_CURRENT_CLOUD", "REQUESTS_CA_BUNDLE"}
    for name in hidden:
        monkeypatch.setenv(name, "of the emulator")

    spec = make_spec(code, environment_variables={"MINE": "yes"}, request_timeout_seconds=5)
    async with running(spec) as container:
        environment = (await score(container, {})).json()

    assert environment["MINE"] == "yes"
    assert environment["AZUREML_MODEL_DIR"] == str(tmp_path / "app/azureml-models/model/7")
    assert environment["SCORING_TIMEOUT_MS"] == "6000"
    assert not hidden & environment.keys()


async def test_the_app_root_is_the_code_as_the_api_shows_it(
    make_spec: Callable[..., ContainerSpec], tmp_path: Path
) -> None:
    code = tmp_path / "onlinescoring"
    code.mkdir()
    (code / "beside.py").write_text("import os\nROOT = os.environ['AML_APP_ROOT']\n")
    script = "from beside import ROOT\ndef init(): pass\ndef run(_): return [ROOT, open(ROOT + '/score.py').read()]\n"
    (code / "score.py").write_text(script)

    async with running(spec := make_spec(code)) as container:
        assert (await score(container, {})).json() == [str(spec.layout.place("/var/azureml-app/onlinescoring")), script]


async def test_a_raising_init_crashes_the_container_and_its_traceback_is_in_the_logs(
    make_spec: Callable[..., ContainerSpec],
) -> None:
    container = Container(make_spec("broken_init"))

    await container.start()

    assert await settle(container) is ContainerState.CRASHED
    assert container.exit_code == 3
    assert "Traceback (most recent call last)" in container.logs()
    assert "RuntimeError: broken_init: the weights are from another planet" in container.logs()


async def test_without_the_inference_server_in_its_environment_a_container_crashes_and_says_so(
    make_spec: Callable[..., ContainerSpec], tmp_path: Path
) -> None:
    bare = await build_image(ImageRecipe(None, "dependencies: [python=3.11]"), tmp_path / "images", lambda _: None)
    container = Container(make_spec("good", python=bare / "bin/python"))

    await container.start()

    assert await settle(container) is ContainerState.CRASHED
    assert "No module named azureml_inference_server_http" in container.logs()


async def test_a_folder_whose_path_is_too_long_for_a_socket_leaves_no_error_in_the_logs(
    make_spec: Callable[..., ContainerSpec], tmp_path: Path
) -> None:
    async with running(make_spec("good", app_root=tmp_path / ("long" * 30))) as container:
        await score(container, {})

    assert "AF_UNIX" not in container.logs()


async def test_a_missing_scoring_script_crashes_the_container_and_the_logs_name_it(
    make_spec: Callable[..., ContainerSpec],
) -> None:
    container = Container(make_spec("good", entry_script="absent.py"))

    await container.start()

    assert await settle(container) is ContainerState.CRASHED
    assert "absent.py" in container.logs().split("FileNotFoundError", 1)[1]


async def test_a_crashed_container_can_be_started_again_and_keeps_the_logs_of_both_starts(
    make_spec: Callable[..., ContainerSpec],
) -> None:
    container = Container(make_spec("broken_init"))

    for _ in range(2):
        await container.start()
        await settle(container)

    assert container.logs().count("RuntimeError: broken_init") >= 2
    assert container.logs(tail=3).count("\n") == 3


async def test_a_running_container_is_not_started_twice(make_spec: Callable[..., ContainerSpec]) -> None:
    async with running(make_spec("good")) as container:
        with pytest.raises(RuntimeError, match="endpoint/online-deployment/0 is already running"):
            await container.start()


async def test_a_raising_run_answers_500_and_the_container_goes_on(make_spec: Callable[..., ContainerSpec]) -> None:
    async with running(make_spec("raises")) as container:
        response = await score(container, {})

        assert response.status_code == 500
        assert response.headers["x-ms-run-function-failed"] == "True"
        assert "ValueError: raises: this request cannot be scored" in container.logs()
        assert await container.refresh() is ContainerState.READY


async def test_stopping_finishes_the_request_in_flight_and_leaves_no_process(
    make_slow: Callable[[int], ContainerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_module, "_STOP_GRACE_SECONDS", DEADLINE_SECONDS)
    async with running(make_slow(1)) as container:
        request = asyncio.create_task(score(container, {}))
        await busy(container)

        await container.stop()

    assert (await request).json() == {"slept_seconds": 1.0}
    assert container.state is ContainerState.STOPPED
    await wait_until_gone(process_id(container))


async def test_stopping_kills_what_does_not_end_within_the_grace_time(
    make_slow: Callable[[int], ContainerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_module, "_STOP_GRACE_SECONDS", 0.1)
    async with running(make_slow(600)) as container:
        request = asyncio.create_task(score(container, {}))
        await busy(container)

        await container.stop()
        await container.stop()

    with pytest.raises(httpx.TransportError):
        await request
    await wait_until_gone(process_id(container))


async def test_a_container_stopped_while_it_is_probed_stays_stopped(
    make_spec: Callable[..., ContainerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    probed, answer = asyncio.Event(), asyncio.Event()

    async def answer_late(_: Container) -> bool:
        probed.set()
        return await answer.wait()

    monkeypatch.setattr(Container, "is_healthy", answer_late)
    container = Container(make_spec("good"))
    await container.start()
    refresh = asyncio.create_task(container.refresh())
    await probed.wait()

    await container.stop()
    answer.set()

    assert await refresh is ContainerState.STOPPED


async def test_a_server_killed_from_outside_is_found_crashed_and_its_busy_worker_goes_too(
    make_slow: Callable[[int], ContainerSpec],
) -> None:
    async with running(make_slow(600)) as container:
        request = asyncio.create_task(score(container, {}))
        await busy(container)
        os.kill(process_id(container), signal.SIGKILL)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await container.refresh() is ContainerState.READY:
                await asyncio.sleep(0.01)

        assert container.state is ContainerState.CRASHED
        assert container.exit_code == -signal.SIGKILL
        await wait_until_gone(process_id(container))
        with pytest.raises(httpx.TransportError):
            await request


@pytest.fixture
def emulator(make_spec: Callable[..., ContainerSpec]) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs a ready container; its one line of output is the container's process id."""
    spec = make_spec("good")
    code = f"""
import asyncio, json, sys
from pathlib import Path
from rollway.emulator.runtime.container import *
async def main():
    container = Container(ContainerSpec("e/d/0", Path({str(spec.python)!r}), Path({str(spec.app_root)!r}),
        Path({str(spec.code)!r}), "score.py", None, "model", "7", {{}}, 180))
    await container.start()
    while await container.refresh() is not ContainerState.READY:
        await asyncio.sleep(0.02)
    print(json.dumps([container._process.pid, container.port]), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True)
    with process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_no_process_outlives_the_emulator_however_it_ends(
    emulator: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert emulator.stdout is not None
    container_process_id, _ = json.loads(emulator.stdout.readline())
    assert group_is_alive(container_process_id)

    emulator.send_signal(number)

    await wait_until_gone(container_process_id)
    assert emulator.wait() == -number
