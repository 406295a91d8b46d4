"""Build of Azure ML environments. Instead of a container image, a virtual environment with the same packages."""

import asyncio
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollway.emulator.runtime.interpreters import (
    OWN_PYTHON,
    OWN_VERSION,
    Interpreter,
    fetch_interpreter,
    find_interpreter,
)
from rollway.emulator.runtime.recipes import ImageErrorCode, ImageRecipe, RecipeError, Requirements, resolve
from rollway.emulator.runtime.release_dates import BUILD_TOOLS, Cutoff, find_cutoff, read_requirement_lines
from rollway.emulator.runtime.uv_process import run_uv

__all__ = ["ImageBuildFailed", "ImageRecipe", "build_image"]

log = logging.getLogger("rollway.emulator.runtime.images")

_LOCK_POLL_SECONDS = 0.1
# Part of the hash of an environment. It changes when the same requirements would now be built differently.
_BUILD_VERSION = 2
# pkg_resources left setuptools with version 82.
_TOOL_REQUIREMENTS = {"pip": "pip", "setuptools": "setuptools<82", "wheel": "wheel"}


class ImageBuildFailed(Exception):
    """The environment cannot be built. `log` is the whole build log, `code` is Azure's error code."""

    def __init__(self, message: str, log: str, code: ImageErrorCode = "ImageBuildFailure") -> None:
        super().__init__(message)
        self.log = log
        self.code: ImageErrorCode = code


async def build_image(
    recipe: ImageRecipe, cache: Path, write_log: Callable[[str], None], images: Path | None = None
) -> Path:
    """Return the root of a virtual environment for `recipe`. Build it if the cache does not have it.

    Several processes may call this at once: one builds, the others wait for it. A build that fails or is killed is
    never used.

    Args:
        cache: Folder of all environments, each named by the hash of everything that decides its content.
        write_log: Called with each line of the build log.
        images: Mapping file of further images, in the form of images.yml.

    Raises:
        ImageBuildFailed: The build failed.
    """
    lines: list[str] = []

    def tee(line: str) -> None:
        lines.append(line)
        write_log(line)

    try:
        requirements = resolve(recipe, images)
        interpreter = await find_interpreter(requirements.python) or _fallback(requirements.python)
        home = _home(cache, requirements, interpreter, recipe.build_context)
        if interpreter.is_fallback and not _is_ready(home):
            interpreter = await _fetch(interpreter.asked, tee) or interpreter
            home = _home(cache, requirements, interpreter, recipe.build_context)
        async with _locked(home.with_suffix(".lock")) as lock:
            if not _is_ready(home):
                await _Build(home, requirements, interpreter, recipe.build_context, lock, tee).run()
    except RecipeError as exc:
        tee(f"error: {exc}")
        raise ImageBuildFailed(str(exc), "\n".join(lines), exc.code) from exc
    return home / "venv"


def _is_ready(home: Path) -> bool:
    # The interpreter is a link to a Python outside the cache, which may have been removed.
    return (home / "ready").exists() and (home / "venv/bin/python").exists()


def _home(cache: Path, requirements: Requirements, interpreter: Interpreter, context: Path | None) -> Path:
    """Return the environment's folder: a hash of the requirements, the interpreter and all files of a build context.

    Nothing that needs the network is part of it, so that a cached environment is found at once.
    """
    parts = [str(_BUILD_VERSION), interpreter.asked, interpreter.path, *requirements.lines]
    digest = hashlib.sha256(json.dumps(parts).encode())
    if context is not None:
        for file in sorted(path for path in context.rglob("*") if path.is_file()):
            digest.update(f"\0{file.relative_to(context)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return cache / digest.hexdigest()[:20]


def _fallback(version: str | None) -> Interpreter:
    return Interpreter(OWN_PYTHON, version or OWN_VERSION, OWN_VERSION)


async def _fetch(version: str, tee: Callable[[str], None]) -> Interpreter | None:
    """Let uv download a Python. If it cannot, say so in the build log and in the emulator's."""
    tee(f"Python {version} is not on this machine. uv may download it.")
    interpreter = await fetch_interpreter(version, tee)
    if interpreter is None:
        text = (
            f"the environment asks for Python {version}, which is not on this machine and which uv cannot download, "
            f"so the emulator's own Python {OWN_VERSION} is used. Install it, for example with: uv python install "
            f"{version}"
        )
        log.warning("%s", text)
        tee(f"warning: {text}")
    return interpreter


@dataclass(frozen=True)
class _Build:
    """One build of a virtual environment in the folder `home`, while `lock` is held."""

    home: Path
    requirements: Requirements
    interpreter: Interpreter
    context: Path | None
    lock: int
    tee: Callable[[str], None]

    async def run(self) -> None:
        try:
            _recreate_folder(self.home)
            self.tee(f"Building a virtual environment with {self.interpreter.path}")
            for line in (*self.requirements.lines, *(f"-r {file.name}" for file in self.requirements.files)):
                self.tee(f"  {line}")
            venv = ["venv", "--quiet", "--no-project", "--python", self.interpreter.path, str(self.home / "venv")]
            if (code := await self._uv(venv, self.tee)) != 0:
                raise RecipeError(f"the virtual environment cannot be created (exit code {code})")
            await self._install_tools(await self._install_packages())
            (self.home / "ready").touch()
        except BaseException:
            shutil.rmtree(self.home, ignore_errors=True)
            raise

    async def _install_packages(self) -> list[str]:
        """Install the packages as of the cut-off, or with a weaker one. Return its arguments."""
        listing = self.home / "requirements.txt"
        listing.write_text("".join(f"{line}\n" for line in self.requirements.lines), encoding="utf-8")
        files = [argument for file in (listing, *self.requirements.files) for argument in ("-r", str(file))]
        # Compiled now, because run time may forbid it (PYTHONDONTWRITEBYTECODE). Without bytecode, the inference server
        # takes 1.6 s to start instead of 0.6 s.
        install = ["pip", "install", "--compile-bytecode", "--python", self._python, *files]
        for limits, text in _attempts(await self._find_cutoff()):
            if text:
                self.tee(text)
            if (code := await self._uv([*install, *limits], self.tee)) == 0:
                return limits
        cause = (
            f": they may need Python {self.interpreter.asked}, which is not on this machine. Python "
            f"{self.interpreter.version} was used instead"
            if self.interpreter.is_fallback
            else ""
        )
        raise RecipeError(f"the environment's packages cannot be installed (exit code {code}){cause}")

    async def _find_cutoff(self) -> Cutoff | None:
        if os.environ.get("UV_EXCLUDE_NEWER"):
            return None  # the user's own
        lines = read_requirement_lines(self.requirements.lines, self.requirements.files)
        return await find_cutoff(lines, self.interpreter, Path(self._python), self.home, self.tee, self._uv)

    async def _install_tools(self, limits: list[str]) -> None:
        """Install pip, setuptools and wheel where they are missing, as conda does beside every Python.

        They are not compiled: the inference server does not import them.
        """
        libraries = self.home / "venv/lib" / f"python{self.interpreter.version}" / "site-packages"
        missing = [_TOOL_REQUIREMENTS[name] for name in BUILD_TOOLS if not any(libraries.glob(f"{name}-*.dist-info"))]
        install = ["pip", "install", "--quiet", "--python", self._python]
        if missing and await self._uv([*install, *limits, *missing], self.tee) != 0:
            self.tee(f"warning: {', '.join(missing)} cannot be installed")

    @property
    def _python(self) -> str:
        return str(self.home / "venv/bin/python")

    async def _uv(self, arguments: list[str], tee: Callable[[str], None], **options: Any) -> int:
        return await run_uv(arguments, tee, cwd=self.context or self.home, lock=self.lock, **options)


def _attempts(cutoff: Cutoff | None) -> list[tuple[list[str], str]]:
    """Return the attempts to install packages: uv's arguments and a line for the build log."""
    if cutoff is None:
        return [([], "")]
    since = "" if cutoff.day == cutoff.released else f", but not before {cutoff.day} because of the Python"
    as_of = f"Packages without a version are those of {cutoff.released}, when {cutoff.newest} was released{since}"
    compiled = f"warning: that failed. Now only NumPy, pandas and SciPy are those of {cutoff.day}"
    return [
        (cutoff.arguments(), as_of),
        (cutoff.arguments_for_compiled_packages(), compiled),
        ([], "warning: that failed too. Now all packages without a version are the newest"),
    ]


def _recreate_folder(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)  # a killed build may have left files
    home.mkdir(parents=True)


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
