"""One process of a local stack."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

STOP_TIMEOUT_SECONDS = 20
PR_SET_PDEATHSIG = 1  # man 2 prctl
OWNER_VARIABLE = "ROLLWAY_STACK"  # of each process: the folder of its stack


@dataclass(frozen=True)
class Process:
    """A process of a stack, with its own process group, so that its children stop with it."""

    name: str
    pid: int

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        owner: Path,
        environment: Mapping[str, str] | None = None,
        working_directory: Path | None = None,
        outlives: bool = False,
    ) -> Self:
        """Start a process that writes to `<name>.log` in the folder of its stack.

        Args:
            owner: The folder of the stack.
            environment: Environment variables; None for those of this process.
            outlives: True if the process goes on when this one ends. Otherwise it ends, too (on Linux).
        """
        with (owner / f"{name}.log").open("w", encoding="utf-8") as log:
            started = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**(os.environ if environment is None else environment), OWNER_VARIABLE: str(owner)},
                cwd=working_directory,
                preexec_fn=_child_of(None if outlives else os.getpid()),  # noqa: PLW1509 (it takes no lock)
            )
        return cls(name, started.pid)

    @property
    def is_running(self) -> bool:
        """True if the process exists and has not ended."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)  # reap an ended child
        return psutil.pid_exists(self.pid)

    def belongs_to(self, owner: Path) -> bool:
        """Return True if a process of the group was started for the stack of the folder `owner`.

        After a restart of the machine, or of a container, a process id that was saved may be that of a stranger.
        """
        for member in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(member.pid) == self.pid and member.environ().get(OWNER_VARIABLE) == str(owner):
                    return True
        return False

    def stop(self) -> None:
        """Terminate the process; kill it after a grace period."""
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal_number)
            deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
            while self.is_running and time.monotonic() < deadline:
                time.sleep(0.05)
            if not self.is_running:
                return


def _child_of(parent: int | None) -> Callable[[], None]:
    """Return what a child process does before its program starts.

    It takes the default signals, because a shell's background job ignores Ctrl-C, and it ends when its parent ends.
    """
    kernel = ctypes.CDLL(None) if parent is not None and sys.platform == "linux" else None

    def prepare() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if kernel is not None:
            kernel.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it has ended meanwhile
                os._exit(1)

    return prepare
