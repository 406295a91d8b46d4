"""Script that starts Microsoft's inference server in the container's own interpreter. The emulator never imports it.

It does what a container runtime would do, and works around a conflict of packages:

- It passes the server a listening socket on loopback. The server itself binds 0.0.0.0 (`constants.py`, DEFAULT_HOST, no
  option), so gunicorn gets the socket through the environment variables of systemd's socket activation.
- It kills the server and all its workers when the emulator ends, even when the emulator is killed. The emulator holds
  the other end of standard input, which then reaches its end.
- It turns gunicorn's control socket off where its path is too long. gunicorn puts it into the home folder, which is
  short in a container, and tries to open it again before each worker.
- It lets older servers find their part of the package `azureml` beside azureml-ai-monitoring.

It runs on Python 3.8 and later, because the environment chooses the version, and uses the standard library only.
"""

import importlib.util
import os
import runpy
import signal
import sys
import threading

SERVER = "azureml_inference_server_http"
SD_LISTEN_FDS_START = 3  # sd_listen_fds(3)
LONGEST_SOCKET_PATH = 103  # bytes, without the zero at the end: unix(7) says 107 for Linux, macOS has 103


def _kill_group_at_eof(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def _turn_off_long_control_socket() -> None:
    try:
        config = importlib.import_module("gunicorn.config")
    except ModuleNotFoundError:  # the server says so itself
        return
    setting = getattr(config, "ControlSocket", None)  # since gunicorn 25.1
    if setting is not None and len(os.fsencode(setting.default)) > LONGEST_SOCKET_PATH:
        config.ControlSocketDisable.default = True


def _join_azureml() -> None:
    """Let `azureml.contrib` be found, which the server has in a folder of its own before version 1.4.1.

    It is a part of the namespace `azureml`, which the package of that name in azureml-ai-monitoring hides.
    """
    server = importlib.util.find_spec(SERVER)
    folder = os.path.join(os.path.dirname(server.origin), "server", "azureml") if server and server.origin else ""
    if os.path.isdir(folder) and importlib.util.find_spec("azureml"):
        importlib.import_module("azureml").__path__.append(folder)


def _server_module() -> str:
    """Return the module that starts the server. Its versions of 2021 and early 2022 cannot be run as a package."""
    is_package_only = importlib.util.find_spec(SERVER) and not importlib.util.find_spec(f"{SERVER}.__main__")
    return f"{SERVER}.amlserver" if is_package_only else SERVER


def main() -> None:
    # First, before another file can get this descriptor's number.
    given = int(os.environ.pop("ROLLWAY_SOCKET"))
    if given != SD_LISTEN_FDS_START:
        os.dup2(given, SD_LISTEN_FDS_START)
        os.close(given)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")

    lifeline = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_kill_group_at_eof, args=(lifeline,), daemon=True).start()

    sys.path[0] = os.getcwd()  # like `python -m`: the modules beside this file must not be importable
    _turn_off_long_control_socket()
    _join_azureml()
    runpy.run_module(_server_module(), run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
