"""Custom containers: real processes of a program that knows nothing of Azure ML."""

# ruff: noqa: ASYNC110 - the end of a process that is nobody's child here can only be polled

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollway.emulator.runtime import container as container_module
from rollway.emulator.runtime import own_ports
from rollway.emulator.runtime.container import Container, ContainerSpec, ContainerState
from rollway.emulator.runtime.dockerfile import Copied
from rollway.emulator.runtime.fleet import Instance
from rollway.emulator.runtime.own_ports import choose_ports
from rollway.emulator.runtime.probes import Probe, ProbeSettings
from rollway.emulator.runtime.programs import Program
from rollway.emulator.runtime.routes import Route, Routes
from tests.support.processes import group_is_alive, wait_until_gone

ROOT = Path(__file__).parents[2]
OWN_SERVER = ROOT / "tests/fixtures/own_server"
DEADLINE_SECONDS = 180
ROUTES = Routes(Route("/live", 8501), Route("/ready", 8501), Route("/predict", 8501), Route("/started", 8501))
# As its image starts it: it listens on port 8501 of all addresses.
PROGRAM = Program(
    command=("python", "/srv/server.py"),
    variables={"GREETING": "from the image", "MODEL_BASE_PATH": "/var/azureml-app/azureml-models/m/7"},
    context=OWN_SERVER,
    copied=(Copied(("server.py",), "/srv", is_folder=True),),
    folder="/srv",
)

pytestmark = pytest.mark.anyio
MakeSpec = Callable[..., ContainerSpec]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def make_spec(tmp_path: Path) -> MakeSpec:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/w.txt").write_text("1")

    def make(name: str = "0", **changes: Any) -> ContainerSpec:
        spec = ContainerSpec(
            name=f"endpoint/online-deployment/{name}",
            python=Path(sys.executable),
            app_root=tmp_path / name,
            code=None,
            entry_script=None,
            model=tmp_path / "weights",
            model_name="m",
            model_version="7",
            environment_variables={},
            request_timeout_seconds=180,
            routes=ROUTES,
            program=PROGRAM,
        )
        return replace(spec, **changes)

    return make


@asynccontextmanager
async def running(spec: ContainerSpec) -> AsyncIterator[Container]:
    container = Container(spec)
    try:
        await container.start()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (state := await container.refresh()) is ContainerState.STARTING:
                await asyncio.sleep(0.02)
        assert state is ContainerState.READY, container.logs()
        yield container
    finally:
        await container.stop()


async def predict(container: Container) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False, timeout=DEADLINE_SECONDS) as client:
        answer = await client.post(f"http://127.0.0.1:{container.port}/predict", json={"x": 1})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def test_the_program_of_an_image_answers_with_its_files_variables_and_model(make_spec: MakeSpec) -> None:
    spec = make_spec(environment_variables={"GREETING": "from the deployment"})
    async with running(spec) as container:
        answer = await predict(container)

    assert answer["model"] == ["weights/w.txt"]
    assert answer["folder"] == str(spec.app_root / "image/srv")
    model_dir = str(spec.app_root / "azureml-models/m/7")
    wanted = {"GREETING": "from the deployment", "MODEL_BASE_PATH": model_dir, "AZUREML_MODEL_DIR": model_dir}
    assert answer["variables"] == wanted


async def test_two_instances_listen_on_the_same_port_of_their_own_container(make_spec: MakeSpec) -> None:
    async with running(make_spec("0")) as first, running(make_spec("1")) as second:
        answers = [await predict(container) for container in (first, second)]

    assert first.port != second.port
    assert answers[0]["process"] != answers[1]["process"]
    assert "own server: port 8501" in first.logs()


async def test_a_program_that_listens_everywhere_listens_on_loopback_only(make_spec: MakeSpec) -> None:
    async with running(make_spec()) as container:
        # Linux answers on all of 127/8 for a socket that is bound to every address.
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", container.port)


async def test_a_mapped_command_is_told_its_port_and_its_variables_come_last(make_spec: MakeSpec) -> None:
    program = Program(
        command=("python", "{here}/server.py", "--port", "{port}"),
        mapped_variables={"GREETING": "on {host}, port {port}", "MODEL_BASE_PATH": "{model_dir}"},
        here=OWN_SERVER,
    )
    spec = make_spec(program=program, environment_variables={"GREETING": "from the deployment"})
    async with running(spec) as container:
        answer = await predict(container)

    assert answer["arguments"] == ["--port", str(container.port)]
    assert answer["variables"]["GREETING"] == f"on 127.0.0.1, port {container.port}"
    assert answer["variables"]["MODEL_BASE_PATH"] == str(spec.model_dir)


async def test_a_model_has_the_mount_path_of_its_deployment(make_spec: MakeSpec) -> None:
    spec = make_spec(model_mount_path="/mnt/models", environment_variables={"MODEL_BASE_PATH": "/mnt/models"})
    async with running(spec) as container:
        answer = await predict(container)

    mounted = str(spec.app_root / "image/mnt/models")
    assert answer["model"] == ["weights/w.txt"]
    assert answer["variables"]["AZUREML_MODEL_DIR"] == f"{mounted}/m/7"
    assert answer["variables"]["MODEL_BASE_PATH"] == mounted


async def test_a_program_finds_its_scoring_script_where_azure_says(make_spec: MakeSpec) -> None:
    command = (
        "sh",
        "-c",
        'echo "app: $AML_APP_ROOT/$AZUREML_ENTRY_SCRIPT"; test -f "$AML_APP_ROOT/$AZUREML_ENTRY_SCRIPT"',
    )
    spec = make_spec(program=Program(command=command), code=ROOT / "tests/fixtures/good", entry_script="score.py")

    container = await ended(spec)

    assert container.exit_code == 0
    assert f"app: {spec.app_root}/good/score.py" in container.logs()


async def ended(spec: ContainerSpec) -> Container:
    """The container of a program that ends by itself."""
    container = Container(spec)
    await container.start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await container.refresh() is ContainerState.STARTING:
            await asyncio.sleep(0.02)
    await container.stop()
    return container


@pytest.mark.parametrize(
    ("command", "code", "log"),
    [
        (("program-of-nobody", "x"), 1, "program-of-nobody cannot be started: No such file or directory"),
        (("sh", "-c", "echo bye; exit 7"), 7, "bye"),
        (("sh", "-c", "kill -9 $$"), 137, ""),
    ],
)
async def test_a_program_that_ends_is_a_crash_with_its_exit_code(
    make_spec: MakeSpec, command: tuple[str, ...], code: int, log: str
) -> None:
    container = await ended(make_spec(program=Program(command=command)))

    assert container.exit_code == code
    assert log in container.logs()


@pytest.mark.parametrize("broken", ["ready", "started"])
async def test_a_container_is_not_ready_before_its_routes_answer(make_spec: MakeSpec, broken: str) -> None:
    variables = {"BROKEN_ROUTE": broken}
    container = Container(make_spec(environment_variables=variables, has_startup_probe=True))
    await container.start()
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await container.is_healthy(ROUTES.liveness):
                await asyncio.sleep(0.02)
            await container.refresh()
            while container.has_started is not (broken == "ready"):  # a busy machine may answer a probe too late
                await container.refresh()

        assert container.state is ContainerState.STARTING
    finally:
        await container.stop()


async def test_the_other_probes_begin_when_the_startup_probe_has_passed(make_spec: MakeSpec) -> None:
    at_once = ProbeSettings(initial_delay=0, period=0, failure_threshold=1)
    container = Container(make_spec(environment_variables={"BROKEN_ROUTE": "live"}, has_startup_probe=True))
    instance = Instance(
        container, asyncio.Semaphore(), liveness=Probe(at_once), readiness=Probe(at_once), startup=ProbeSettings()
    )
    await instance.start()
    try:
        await instance.probe()
        assert instance.liveness.has_passed
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await container.refresh() is ContainerState.STARTING:
                await asyncio.sleep(0.02)

        await instance.probe()

        assert container.state is ContainerState.CRASHED
        assert not instance.liveness.has_passed
    finally:
        await container.stop()


async def test_a_container_that_does_not_pass_its_startup_probe_in_time_is_killed(make_spec: MakeSpec) -> None:
    no_time = ProbeSettings(initial_delay=0, period=0)
    container = Container(make_spec(environment_variables={"BROKEN_ROUTE": "started"}, has_startup_probe=True))
    instance = Instance(container, asyncio.Semaphore(), startup=no_time)
    await instance.start()
    try:
        await instance.probe()

        assert container.state is ContainerState.CRASHED
    finally:
        await container.stop()


async def test_a_program_is_told_to_stop_and_can_finish(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_module, "_STOP_GRACE_SECONDS", DEADLINE_SECONDS)
    command = ("sh", "-c", "trap 'echo last words; exit 0' TERM; echo up; while true; do sleep 0.02; done")
    container = Container(make_spec(program=Program(command=command)))
    await container.start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while "up" not in container.logs():
            await asyncio.sleep(0.02)

    await container.stop()

    assert "last words" in container.logs()
    assert container.exit_code == 0


async def test_no_program_outlives_the_emulator(make_spec: MakeSpec, tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from rollway.emulator.runtime.container import Container, ContainerSpec
from rollway.emulator.runtime.programs import Program
async def main():
    program = Program(command=("sh", "-c", "sleep 1000 & sleep 1000"))
    app = Path({str(tmp_path / "app")!r})
    spec = ContainerSpec("e/d/0", Path(sys.executable), app, None, None, None, "m", "1", {{}}, 5, program=program)
    container = Container(spec)
    await container.start()
    print(container.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    emulator = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=environ, stdout=asyncio.subprocess.PIPE
    )
    assert emulator.stdout is not None
    group = int(await emulator.stdout.readline())
    assert group_is_alive(group)

    emulator.kill()

    await wait_until_gone(group)
    assert await emulator.wait() == -signal.SIGKILL


# -- sockets of Python programs ------------------------------------------------------------------------------------

SHIM = ROOT / "rollway/emulator/runtime/loopback"
BINDS = """
import json, socket
found = {}
for name, family, address, is_v6only in (
    ("own", socket.AF_INET, ("0.0.0.0", 8501), None),
    ("loopback", socket.AF_INET, ("127.0.0.1", 8502), None),
    ("other", socket.AF_INET, ("", 0), None),
    ("both", socket.AF_INET6, ("::", 0), False),
    ("six", socket.AF_INET6, ("::", 0), True),
):
    with socket.socket(family) as one:
        if is_v6only is not None:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, is_v6only)
        one.bind(address)
        found[name] = one.getsockname()[:2]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.bind(("", 0))
    found["datagrams"] = one.getsockname()[:2]
print(json.dumps(found))
"""


def test_sockets_of_a_python_program_get_the_instances_ports_on_loopback() -> None:
    first, second = choose_ports(2)
    environ = os.environ | {"PYTHONPATH": str(SHIM), "ROLLWAY_PORTS": f"8501={first},8502={second}"}

    done = subprocess.run([sys.executable, "-c", BINDS], env=environ, capture_output=True, text=True, check=True)

    found = json.loads(done.stdout)
    assert (found["own"], found["loopback"]) == (["127.0.0.1", first], ["127.0.0.1", second])
    hosts = {name: address[0] for name, address in found.items()}
    assert hosts["other"] == "127.0.0.1"
    assert (hosts["both"], hosts["six"], hosts["datagrams"]) == ("::ffff:127.0.0.1", "::1", "0.0.0.0")  # noqa: S104


def test_a_port_that_is_taken_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        free = choose_ports(1)[0]
        monkeypatch.setattr(own_ports, "_CANDIDATES", iter([number, free]))

        assert choose_ports(1) == [free]
        monkeypatch.setattr(own_ports, "_CANDIDATES", iter([number]))
        with pytest.raises(OSError, match="no free port on loopback"):
            choose_ports(1)
