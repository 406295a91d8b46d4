"""Starts Microsoft's inference server in the container's own interpreter; never imported by the emulator.

It adds the two things that a container runtime gives to the server and a bare process lacks:

- The listening socket. The server binds 0.0.0.0 (`constants.py`, DEFAULT_HOST, no option), so gunicorn is handed a
  socket bound to loopback instead, through the environment variables of systemd's socket activation.
- An end. The emulator holds the other side of standard input; when it is gone, however it ended, so is the server
  with all its workers.

Runs on any Python that the environment asks for (3.8 and later), with the standard library only.
"""

import os
import runpy
import signal
import sys
import threading

SD_LISTEN_FDS_START = 3  # sd_listen_fds(3)


def _kill_group_at_eof(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    # First, while nothing else can have taken its number.
    given = int(os.environ.pop("ROLLWAY_SOCKET"))
    if given != SD_LISTEN_FDS_START:
        os.dup2(given, SD_LISTEN_FDS_START)
        os.close(given)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")

    lifeline = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_kill_group_at_eof, args=(lifeline,), daemon=True).start()

    sys.path[0] = os.getcwd()  # as with `python -m`: this file's folder must not be importable
    runpy.run_module("azureml_inference_server_http", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
