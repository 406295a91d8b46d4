"""Runs uv in a process that ends with the emulator."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeAlias, cast

import uv

_DIE_WITH_PARENT = str(Path(__file__).with_name("die_with_parent.py"))


RunUv: TypeAlias = Callable[..., Awaitable[int]]  # `run_uv`, or what a test runs instead


async def run_uv(
    arguments: list[str],
    tee: Callable[[str], None],
    *,
    cwd: Path | None = None,
    lock: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Run uv, pass each line of output to `tee`, and return the exit code.

    uv is killed if the task is cancelled or the emulator is killed.

    Args:
        lock: File descriptor of a lock that uv inherits.
        environ: Environment variables; None for the emulator's own.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-IS",
        _DIE_WITH_PARENT,
        uv.find_uv_bin(),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=cwd,
        env=_without_own_python(os.environ if environ is None else environ),
        limit=2**20,
        start_new_session=True,
        # uv inherits the lock: if the emulator is killed, no other process builds until uv has ended too.
        pass_fds=() if lock is None else (lock,),
    )
    try:
        async for line in cast(asyncio.StreamReader, process.stdout):
            tee(line.decode(errors="replace").rstrip())
        return await process.wait()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _without_own_python(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without the variables of this Python. Settings of uv (indexes, cache, proxies) stay."""
    return {name: value for name, value in environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}}
