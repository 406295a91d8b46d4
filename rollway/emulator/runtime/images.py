"""Build of Azure ML environments. Instead of a container image, a virtual environment with the same packages."""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import uv

from rollway.emulator.runtime.recipes import ImageErrorCode, ImageRecipe, RecipeError, Requirements, resolve

__all__ = ["ImageBuildFailed", "ImageRecipe", "build_image"]

_LOCK_POLL_SECONDS = 0.1
_OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# The real path, not the link in our own virtual environment: builds must outlive it, and be found from another one.
_OWN_PYTHON = os.path.realpath(sys.executable)


class ImageBuildFailed(Exception):
    """The environment cannot be built. `log` is the whole build log, `code` is Azure's error code."""

    def __init__(self, message: str, log: str, code: ImageErrorCode = "ImageBuildFailure") -> None:
        super().__init__(message)
        self.log = log
        self.code: ImageErrorCode = code


async def build_image(recipe: ImageRecipe, cache: Path, log: Callable[[str], None], images: Path | None = None) -> Path:
    """Return the root of a virtual environment for `recipe`. Build it if the cache does not have it.

    Several processes may call this at once: one builds, the others wait for it. A build that fails or is killed is
    never used.

    Args:
        cache: Folder of all environments, each named by the hash of everything that decides its content.
        log: Called with each line of the build log.
        images: Mapping file of further images, in the form of images.yml.

    Raises:
        ImageBuildFailed: The build failed.
    """
    lines: list[str] = []

    def tee(line: str) -> None:
        lines.append(line)
        log(line)

    try:
        requirements = resolve(recipe, images)
        interpreter = await _find_interpreter(requirements.python, tee)
        home = cache / _digest(requirements, interpreter, recipe.build_context)
        async with _locked(home.with_suffix(".lock")) as lock:
            if not _is_ready(home):
                await _build(
                    home,
                    requirements=requirements,
                    interpreter=interpreter,
                    context=recipe.build_context,
                    lock=lock,
                    tee=tee,
                )
    except RecipeError as exc:
        tee(f"error: {exc}")
        raise ImageBuildFailed(str(exc), "\n".join(lines), exc.code) from exc
    return home / "venv"


def _is_ready(home: Path) -> bool:
    # The interpreter is a link to a Python outside the cache, which may have been removed.
    return (home / "ready").exists() and (home / "venv/bin/python").exists()


def _digest(requirements: Requirements, interpreter: str, context: Path | None) -> str:
    """Return a hash of the requirements, the interpreter and, for a build context, of all its files."""
    digest = hashlib.sha256(json.dumps([interpreter, *requirements.lines]).encode())
    if context is not None:
        for file in sorted(path for path in context.rglob("*") if path.is_file()):
            digest.update(f"\0{file.relative_to(context)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:20]


async def _find_interpreter(version: str | None, tee: Callable[[str], None]) -> str:
    """Return the path of a Python with this `major.minor` version, or of the emulator's own if there is none."""
    if version in {None, _OWN_VERSION}:
        return _OWN_PYTHON
    found: list[str] = []
    if await _run_uv(["python", "find", "--quiet", "--no-python-downloads", f"{version}"], found.append) == 0 and found:
        return found[-1]
    tee(f"warning: Python {version} is not on this machine, so the emulator's own Python {_OWN_VERSION} is used")
    return _OWN_PYTHON


async def _build(
    home: Path,
    *,
    requirements: Requirements,
    interpreter: str,
    context: Path | None,
    lock: int,
    tee: Callable[[str], None],
) -> None:
    venv, listing = home / "venv", home / "requirements.txt"
    try:
        _recreate_folder(home)
        listing.write_text("".join(f"{line}\n" for line in requirements.lines), encoding="utf-8")
        tee(f"Building a virtual environment with {interpreter}")
        for line in (*requirements.lines, *(f"-r {file.name}" for file in requirements.files)):
            tee(f"  {line}")
        # Compiled now, because run time may forbid it (PYTHONDONTWRITEBYTECODE). Without bytecode, the inference server
        # takes 1.6 s to start instead of 0.6 s.
        install = ["pip", "install", "--compile-bytecode", "--python", str(venv / "bin/python")]
        for file in (listing, *requirements.files):
            install += ["-r", str(file)]
        for command in (["venv", "--quiet", "--no-project", "--python", interpreter, str(venv)], install):
            if (code := await _run_uv(command, tee, cwd=context or home, lock=lock)) != 0:
                raise RecipeError(f"the environment's packages cannot be installed (exit code {code})")
        (home / "ready").touch()
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise


def _recreate_folder(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)  # a killed build may have left files
    home.mkdir(parents=True)


_DIE_WITH_PARENT = str(Path(__file__).with_name("die_with_parent.py"))


async def _run_uv(
    arguments: list[str], tee: Callable[[str], None], cwd: Path | None = None, lock: int | None = None
) -> int:
    """Run uv, pass each line of output to `tee`, and return the exit code.

    uv is killed if the task is cancelled or the emulator is killed.
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
        env=_uv_environment(os.environ),
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


def _uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without the variables of this Python. Settings of uv (indexes, cache, proxies) stay."""
    return {name: value for name, value in environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}}


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[int]:
    """Hold an exclusive lock on `path`, across processes and tasks. Yield its file descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOCK_POLL_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)
