"""A fork of a warm process behaves like a new process: what the other tests of this folder rely on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.forks import Forks
from tests.support.processes import is_running

SHOW = """
import json, os, sys
text = sys.stdin.read()
print(json.dumps([sys.argv, os.getcwd(), text, os.environ.get("ROLLWAY_A"), sys.executable, os.getpid(), os.getppid()]))
print("some talk", file=sys.stderr)
sys.exit(7)
"""
# Not `signal.pause`, which misses a signal that comes just before it.
WAIT = """
import os, time
print(os.getpid(), flush=True)
while True:
    time.sleep(0.05)
"""
TIDY = f"""
import atexit, signal, sys
def tidy(*_):
    print("tidied up")
    sys.exit(3)
signal.signal(signal.SIGTERM, tidy)
atexit.register(print, "at exit")
{WAIT}
"""


def run(python: str, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *arguments], capture_output=True, text=True, check=False, **settings)


def test_a_fork_has_its_own_arguments_variables_folder_streams_and_exit_code(forks: Forks, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"cwd": tmp_path, "input": "hello", "env": {**os.environ, "ROLLWAY_A": "1"}}

    real, done, again = (run(python, "-c", SHOW, "x", **settings) for python in (sys.executable, *[forks.python] * 2))

    assert (done.returncode, done.stderr) == (real.returncode, real.stderr) == (7, "some talk\n")
    *shown, python, own, parent = json.loads(done.stdout)
    *others, other_own, _ = json.loads(again.stdout)
    assert shown == json.loads(real.stdout)[:4] == [["-c", "x"], str(tmp_path), "hello", "1"]
    assert others == [*shown, python]
    assert python == forks.python, "what it starts runs in forks too"
    assert len({own, parent, other_own, os.getpid()}) == 4


def test_a_variable_that_imports_read_makes_another_warm_process(forks: Forks) -> None:
    show = "import os, rich; print(rich.get_console().width, os.getsid(0))"

    shown = [
        run(forks.python, "-c", show, env={**os.environ, "COLUMNS": width}).stdout.split() for width in ("81", "82")
    ]

    assert [width for width, _ in shown] == ["81", "82"]
    assert len({warm for _, warm in shown}) == 2


def test_forks_of_one_warm_process_have_prefect_settings_of_their_own(forks: Forks, tmp_path: Path) -> None:
    show = "import os, prefect.settings as s; print(s.PREFECT_API_URL.value(), s.PREFECT_HOME.value(), os.getsid(0))"
    given = [{"PREFECT_API_URL": f"http://{name}/api", "PREFECT_HOME": str(tmp_path / name)} for name in ("one", "two")]

    shown = [run(forks.python, "-c", show, env={**os.environ, **variables}).stdout.split() for variables in given]

    assert [line[:2] for line in shown] == [list(variables.values()) for variables in given]
    assert len({warm for *_, warm in shown}) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL])
def test_a_signal_ends_a_fork_as_it_ends_a_process(forks: Forks, number: signal.Signals) -> None:
    with subprocess.Popen(
        [forks.python, "-c", WAIT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())

        process.send_signal(number)

        assert process.stdout.read() == "", "the fork has closed its end"
        assert process.wait() == -number
    while is_running(pid):  # the kernel may take a moment to end it
        time.sleep(0.01)


def test_a_fork_handles_a_signal_and_its_end_like_a_process(forks: Forks) -> None:
    with subprocess.Popen([forks.python, "-c", TIDY], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()

        process.terminate()

        assert process.stdout.read() == "tidied up\nat exit\n"
        assert process.wait() == 3


def test_where_a_fork_would_differ_python_starts(forks: Forks, tmp_path: Path) -> None:
    (tmp_path / "rollway").mkdir()
    (tmp_path / "rollway" / "__init__.py").write_text("print('another checkout')")
    show = "import sys; import rollway; print(sys.executable)"
    no_cloud = {**os.environ, "ARM_CLOUD_METADATA_URL": "https://localhost:1/metadata", "AZUREML_CURRENT_CLOUD": "X"}

    elsewhere = run(forks.python, "-c", show, cwd=tmp_path)
    no_imports = run(forks.python, "-c", show, env=no_cloud)

    assert elsewhere.stdout == f"another checkout\n{sys.executable}\n"
    assert no_imports.stdout == f"{sys.executable}\n"
