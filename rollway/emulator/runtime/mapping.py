"""Mapping of container images to what stands for them on this machine: images.yml, and the file given with --images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

BUILT_IN = Path(__file__).with_name("images.yml")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "image": (str,),
    "python": (str,),
    "pip": (list,),
    "command": (list,),
    "environment_variables": (dict,),
    "mlflow": (bool,),
    "build": (dict,),
}
_BUILD_TYPES: Mapping[str, tuple[type, ...]] = {"path": (str,), "dockerfile_path": (str,), "args": (dict,)}


class MappingError(ValueError):
    """A mapping file is invalid. The text names the file, the entry and what is wrong."""


@dataclass(frozen=True)
class BuildEntry:
    """A build context on this machine that stands for an image, as of `docker build`."""

    path: Path
    dockerfile: str = "Dockerfile"
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MappedImage:
    """One entry.

    Args:
        image: Glob over `repository:tag`.
        python: `major.minor` version; None for any.
        pip: Requirement lines.
        command: Start command, with placeholders; None for Microsoft's inference server.
        environment_variables: Of the command, with placeholders.
        is_mlflow: The image has Azure's scoring script for MLflow models, and uses it if there is no other.
        build: Used instead of all the others but `image`.
        here: Folder of the mapping file.
    """

    image: str
    python: str | None = None
    pip: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    is_mlflow: bool = False
    build: BuildEntry | None = None
    here: Path = Path("/")


def find_mapped(name: str, images: Path | None) -> MappedImage | None:
    """Return the first entry for an image's `repository:tag`, or None.

    Args:
        images: Mapping file that is searched before the built-in one.
    """
    files = [file for file in (images, BUILT_IN) if file is not None]
    return next((entry for file in files for entry in read_mapping(file) if fnmatchcase(name, entry.image)), None)


def read_mapping(file: Path) -> list[MappedImage]:
    """Return the entries of a mapping file. Raises MappingError."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8")) or []
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise MappingError(f"{file} cannot be read: {exc}") from exc
    if not isinstance(document, list):
        raise MappingError(f"{file} must be a list of images")
    entries = []
    for number, raw in enumerate(document, start=1):
        if faults := list(_faults(raw)):
            raise MappingError(f"{file}, entry {number}: {'; '.join(faults)}")
        entries.append(_entry(raw, file.resolve().parent))
    return entries


def _entry(raw: Mapping[str, Any], here: Path) -> MappedImage:
    build = raw.get("build")
    command = raw.get("command")
    return MappedImage(
        image=raw["image"],
        python=raw.get("python"),
        pip=tuple(raw.get("pip") or ()),
        command=None if command is None else tuple(map(str, command)),
        environment_variables=_texts(raw.get("environment_variables")),
        is_mlflow=bool(raw.get("mlflow")),
        build=build
        and BuildEntry(
            path=here / build["path"],
            dockerfile=build.get("dockerfile_path") or "Dockerfile",
            arguments=_texts(build.get("args")),
        ),
        here=here,
    )


def _texts(raw: Mapping[Any, Any] | None) -> dict[str, str]:
    return {str(name): str(value) for name, value in (raw or {}).items()}


def _faults(raw: Any) -> Iterator[str]:
    if not isinstance(raw, dict):
        yield "must be a mapping with the key `image`"
        return
    if not raw.get("image"):
        yield "`image` is missing"
    yield from _wrong_keys(raw, _TYPES, "")
    if raw.get("command") == []:
        yield "`command` is empty"
    build = raw.get("build")
    if isinstance(build, dict):
        yield from _wrong_keys(build, _BUILD_TYPES, "build.")
        if not build.get("path"):
            yield "`build.path` is missing"
        if others := [key for key in raw if key not in ("image", "build")]:
            yield f"`build` says everything: remove {', '.join(f'`{key}`' for key in others)}"


def _wrong_keys(raw: Mapping[Any, Any], types: Mapping[str, tuple[type, ...]], prefix: str) -> Iterator[str]:
    names: dict[type, str] = {str: "text", list: "a list", dict: "a mapping", bool: "true or false"}
    for key, value in raw.items():
        if key not in types:
            yield f"unknown key `{prefix}{key}`; known are {', '.join(f'`{prefix}{name}`' for name in types)}"
        elif value is not None and not isinstance(value, types[key]):
            yield f"`{prefix}{key}` must be {names[types[key][0]]}"
