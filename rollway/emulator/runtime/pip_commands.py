"""Commands of a Dockerfile that install Python packages: `pip install` and `conda env create`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_PIP = re.compile(r"pip[\d.]*")
_PYTHON = re.compile(r"python[\d.]*")
_ASSIGNMENT = re.compile(r"\w+=.*")
# Options of pip that have a value. Those that say where packages come from are kept.
_SOURCES = ("--index-url", "--extra-index-url", "--find-links")
_SHORT = {"-i": "--index-url", "-f": "--find-links", "-r": "--requirement"}
_WITH_VALUE = (
    *("-c", "--constraint", "-t", "--target", "-e", "--editable", "--trusted-host", "--prefix", "--root", "--python"),
    *("--cache-dir", "--timeout", "--retries", "--upgrade-strategy", "--progress-bar", "--platform", "--src"),
)
_CONDA_WITH_VALUE = ("-n", "--name", "-p", "--prefix", "--solver")


@dataclass(frozen=True)
class Installed:
    """Packages and files that one command installs."""

    packages: tuple[str, ...] = ()  # lines of a requirements file
    requirement_files: tuple[str, ...] = ()
    conda_file: str | None = None
    is_new_environment: bool = False


def parse_install(words: Sequence[str]) -> Installed | None:
    """Return what a command installs, or None if it is another command."""
    rest = list(words)
    while rest and (rest[0] == "sudo" or _ASSIGNMENT.fullmatch(rest[0])):
        rest = rest[1:]
    if not rest:
        return None
    program = rest[0].rsplit("/", 1)[-1]
    if _PYTHON.fullmatch(program) and rest[1:3] == ["-m", "pip"]:
        program, rest = "pip", rest[2:]
    elif program == "uv" and rest[1:2] == ["pip"]:
        program, rest = "pip", rest[1:]
    if _PIP.fullmatch(program) and rest[1:2] == ["install"]:
        return _parse_pip(rest[2:])
    if program in ("conda", "mamba", "micromamba") and rest[1:2] == ["env"] and rest[2:3] in (["create"], ["update"]):
        return _parse_conda(rest[3:], is_new=rest[2] == "create")
    return None


def _parse_pip(words: Sequence[str]) -> Installed:
    packages, files = list[str](), list[str]()
    remaining = iter(words)
    for word in remaining:
        name, is_joined, value = word.partition("=") if word.startswith("--") else (word, "", "")
        name = _SHORT.get(name, name)
        if name in (*_SOURCES, "--requirement", *_WITH_VALUE) and not is_joined:
            value = next(remaining, "")
        if name == "--requirement":
            files.append(value)
        elif name in _SOURCES:
            packages.append(f"{name} {value}")
        elif name == "--pre":
            packages.append(name)
        elif not name.startswith("-") and (package := _without_unknown(word)):
            packages.append(package)
    return Installed(tuple(packages), tuple(files))


def _without_unknown(package: str) -> str:
    """Return a requirement without a version that only the shell knows; empty for a path."""
    if package.startswith((".", "/", "$", "~")) or package.endswith((".whl", ".tar.gz")):
        return ""
    return re.sub(r"\s*[=<>~!]=?[^,\[]*\$.*", "", package)


def _parse_conda(words: Sequence[str], *, is_new: bool) -> Installed:
    file, remaining = None, iter(words)
    for word in remaining:
        name, _, value = word.partition("=")
        if name in ("-f", "--file"):
            file = value or next(remaining, None)
        elif name in _CONDA_WITH_VALUE and not value:
            next(remaining, None)
    return Installed(conda_file=file, is_new_environment=is_new)
