"""The date as of which an environment's packages are resolved.

conda knows which builds of packages fit together, pip's metadata often does not: scikit-learn 1.2 accepts NumPy 2 and
does not work with it. An environment with pinned packages therefore gets the versions of the day on which the newest of
them was released. uv reads the dates from its own package index (PEP 700) and writes them to a pylock.toml (PEP 751).
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from rollway.emulator.runtime.interpreters import Interpreter
from rollway.emulator.runtime.uv_process import RunUv, run_uv

# What pip, setuptools and wheel are pinned to says nothing about the other packages.
BUILD_TOOLS = ("pip", "setuptools", "wheel")

# PEPs 569, 596, 619, 664, 693, 719, 745. The first packages for a Python come with it, most within some weeks.
_PYTHON_RELEASES = {
    "3.8": date(2019, 10, 14),
    "3.9": date(2020, 10, 5),
    "3.10": date(2021, 10, 4),
    "3.11": date(2022, 10, 24),
    "3.12": date(2023, 10, 2),
    "3.13": date(2024, 10, 7),
    "3.14": date(2025, 10, 7),
}
_PACKAGES_FOLLOW_PYTHON = timedelta(days=90)

# If an environment cannot be resolved as of a date, at least what compiled packages are built against is.
_COMPILED_AGAINST = ("numpy", "pandas", "scipy")

_INDEX_OPTIONS = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--pre")


@dataclass(frozen=True)
class Cutoff:
    """The day as of which packages without a version are resolved.

    Args:
        newest: The pinned package that was released last, such as `scikit-learn 1.2.2`.
        released: Its release date.
        day: The same, or later if the Python is younger.
        pinned: Names of the pinned packages, for which it does not count.
    """

    newest: str
    released: date
    day: date
    pinned: tuple[str, ...]

    def arguments(self) -> list[str]:
        """Return uv's arguments that apply the cut-off to all packages but the pinned ones."""
        exempt = [f"--exclude-newer-package={name}=false" for name in self.pinned]
        return [f"--exclude-newer={self._end_of_day}", *exempt]

    def arguments_for_compiled_packages(self) -> list[str]:
        """Return uv's arguments that apply it only to packages that others are compiled against."""
        names = [name for name in _COMPILED_AGAINST if name not in self.pinned]
        return [f"--exclude-newer-package={name}={self._end_of_day}" for name in names]

    @property
    def _end_of_day(self) -> str:
        return f"{self.day + timedelta(days=1)}T00:00:00Z"


def read_requirement_lines(lines: Iterable[str], files: Iterable[Path]) -> Iterator[str]:
    """Yield the lines, and those of the requirements files and of the files that these include."""
    yield from lines
    waiting, seen = list(files), set[Path]()
    while waiting:
        file = waiting.pop().resolve()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        for line in file.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ").splitlines():
            option, _, value = line.strip().replace("=", " ", 1).partition(" ")
            if option in {"-r", "--requirement"}:
                waiting.append(file.parent / value.strip())
            else:
                yield line


def pinned_requirements(lines: Iterable[str]) -> dict[str, str]:
    """Return the requirements that leave at most the patch version open, by name of the package."""
    pinned: dict[str, str] = {}
    for line in lines:
        text = line.partition(" #")[0].partition(" --")[0].strip()
        try:
            requirement = Requirement(text)
        except InvalidRequirement:  # an option, a comment, a path
            continue
        name = canonicalize_name(requirement.name)
        if name not in BUILD_TOOLS and any(_is_pin(one.operator, one.version) for one in requirement.specifier):
            pinned[name] = text
    return pinned


def _is_pin(operator: str, version: str) -> bool:
    numbers = version.removesuffix(".*").count(".") + 1
    if operator == "~=":
        return numbers >= 3
    return operator == "===" or (operator == "==" and (numbers >= 2 or not version.endswith(".*")))


async def find_cutoff(
    lines: Iterable[str],
    interpreter: Interpreter,
    python: Path,
    folder: Path,
    tee: Callable[[str], None],
    run: RunUv = run_uv,
) -> Cutoff | None:
    """Return the cut-off of these requirement lines. None if nothing is pinned, or the index does not tell the dates.

    Args:
        interpreter: Python of the environment.
        python: Path of Python in the environment.
        folder: Folder for files of uv.
        tee: Called with a warning if the index does not tell the dates.
    """
    lines = [line.strip() for line in lines]
    pinned = pinned_requirements(lines)
    if not pinned:
        return None
    requirements, lock = folder / "pinned.txt", folder / "pylock.toml"
    index_options = [line for line in lines if line.replace("=", " ").split(" ")[0] in _INDEX_OPTIONS]
    requirements.write_text("\n".join([*index_options, *pinned.values(), ""]), encoding="utf-8")
    # For the version that was asked for: a package may have no wheel for the one that replaces it.
    command = ["pip", "compile", "--quiet", "--no-deps", "--python", str(python)]
    command += ["--python-version", interpreter.asked, "--output-file", str(lock), str(requirements)]
    if await run(command, lambda _: None) == 0:
        document = tomllib.loads(lock.read_text(encoding="utf-8"))
        if cutoff := cutoff_of(document, interpreter.version, tuple(sorted(pinned))):
            return cutoff
    tee("warning: uv does not know when the pinned packages were released, so those without a version are the newest")
    return None


def cutoff_of(lock: Mapping[str, Any], python_version: str, pinned: tuple[str, ...]) -> Cutoff | None:
    """Return the cut-off of the packages of a pylock.toml document. None if it has no release dates.

    A package is released with the first of its files; wheels for later Pythons often follow.
    """
    dates: dict[str, date] = {}
    for package in lock.get("packages", []):
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        uploads = [file["upload-time"] for file in files if isinstance(file.get("upload-time"), datetime)]
        if uploads:
            dates[f"{package['name']} {package.get('version', '')}"] = min(uploads).astimezone(UTC).date()
    if not dates:
        return None
    newest = max(dates, key=lambda name: (dates[name], name))
    released, python = dates[newest], _PYTHON_RELEASES.get(python_version)
    day = released if python is None else max(released, python + _PACKAGES_FOLLOW_PYTHON)
    return Cutoff(newest, released, day, pinned)
