"""Translation of an Azure ML environment version to a Python version and pip requirements.

It reads the build context and the mapping files, and nothing else. Errors are RecipeErrors with a text for the build
log.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml

ImageErrorCode: TypeAlias = Literal["ImageBuildFailure", "BadArgument"]


@dataclass(frozen=True)
class ImageRecipe:
    """An Azure ML environment version: an image, an image and a conda file, or a build context.

    Args:
        conda_file: YAML text.
        build_context: Folder of an unpacked Docker build context.
        dockerfile: Path of the Dockerfile in the build context.
    """

    image: str | None
    conda_file: str | None
    build_context: Path | None = None
    dockerfile: str = "Dockerfile"


@dataclass(frozen=True)
class Requirements:
    """Packages to install: `major.minor` version of Python (None: any), requirement lines, and requirements files."""

    python: str | None
    lines: tuple[str, ...]
    files: tuple[Path, ...] = ()


class RecipeError(Exception):
    """The environment cannot be built. `code` is the Azure error code of the failed operation."""

    def __init__(self, message: str, code: ImageErrorCode = "ImageBuildFailure") -> None:
        super().__init__(message)
        self.code: ImageErrorCode = code


def resolve(recipe: ImageRecipe, images: Path | None = None) -> Requirements:
    """Return the requirements of `recipe`.

    With a conda file, only the conda file counts; the image reference must be well-formed. An image alone is looked up
    in the mapping files. For a build context see `_from_build_context`.

    Args:
        images: Mapping file that is searched before the built-in one.
    """
    if recipe.build_context is not None:
        return _from_build_context(recipe.build_context, recipe.dockerfile, images)
    if recipe.image is not None:
        repository_and_tag(recipe.image)
    if recipe.conda_file is not None:
        return parse_conda(recipe.conda_file)
    if recipe.image is None:
        raise RecipeError("the environment has no image, no conda file and no build context", "BadArgument")
    return _from_image(recipe.image, images)


# -- container images ---------------------------------------------------------------------------------------------

# The grammar of the distribution project (github.com/distribution/reference): [domain/]path[:tag][@digest]
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<repository>(?:{_DOMAIN}/)?{_PATH}(?:/{_PATH})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?P<digest>@sha256:[0-9a-f]{{64}})?"
)


def repository_and_tag(reference: str) -> str:
    """Return `repository:tag` of an image reference, with the tag `latest` if it has none.

    Raises RecipeError with code BadArgument if it is malformed.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise RecipeError(f"'{reference}' is not a container image reference", "BadArgument")
    return f"{match['repository']}:{match['tag'] or 'latest'}"


def _from_image(reference: str, images: Path | None) -> Requirements:
    name = repository_and_tag(reference)
    for entry in _mapping(images) + _mapping(Path(__file__).with_name("images.yml")):
        if fnmatchcase(name, entry["image"]):
            return Requirements(entry.get("python"), tuple(entry.get("pip", ())))
    raise RecipeError(
        f"image '{reference}' cannot be pulled: it is not in the emulator's mapping of images to Python packages",
        "BadArgument",
    )


def _mapping(path: Path | None) -> list[dict[str, Any]]:
    if path is None:
        return []
    entries: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    return entries


# -- conda files --------------------------------------------------------------------------------------------------

# Names that differ between conda-forge and PyPI. None: nothing to install from PyPI.
_PYPI_NAMES: dict[str, str | None] = {
    "pip": None,
    "nomkl": None,
    "libgomp": None,
    "libgcc": None,
    "libgcc-ng": None,
    "libstdcxx-ng": None,
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "py-xgboost": "xgboost",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
}
_SPEC = re.compile(r"(?:[\w./-]+::)?(?P<name>[A-Za-z0-9][\w.-]*)\s*(?P<version>[^\[]*?)\s*")
_CLAUSE = re.compile(r"(?P<operator>===?|!=|~=|<=|>=|<|>|=)?\s*(?P<version>[\w.!+*-]+?)(?:=[\w.*]+)?")


def parse_conda(text: str) -> Requirements:
    """Return the requirements of a conda file: conda packages translated to PEP 508, and its `pip` list unchanged."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise RecipeError(f"the conda file is not YAML: {exc}") from exc
    dependencies = document.get("dependencies") if isinstance(document, dict) else None
    if not isinstance(dependencies, list):
        raise RecipeError("the conda file has no list of `dependencies`")
    python: str | None = None
    lines: list[str] = []
    for dependency in dependencies:
        if isinstance(dependency, dict) and isinstance(dependency.get("pip"), list) and len(dependency) == 1:
            lines += [str(line) for line in dependency["pip"]]
        elif not isinstance(dependency, str):
            raise RecipeError(f"the conda file has a dependency that is neither text nor a `pip` list: {dependency!r}")
        else:
            name, version = _parse_conda_spec(dependency)
            if name == "python":
                python = _python_version(version)
            elif (pypi_name := _PYPI_NAMES.get(name, name)) is not None:
                lines.append(pypi_name + version)
    return Requirements(python, tuple(lines))


def _parse_conda_spec(spec: str) -> tuple[str, str]:
    """Return the name and PEP 440 version of a conda match spec.

    `scikit-learn=1.5` becomes `==1.5.*`; `numpy>=2,<3` stays.
    """
    match = _SPEC.fullmatch(spec.strip())
    if match is None:
        raise RecipeError(f"the conda package '{spec}' cannot be translated to a pip requirement")
    if not match["version"]:
        return match["name"].lower(), ""
    clauses = []
    for part in match["version"].split(","):
        clause = _CLAUSE.fullmatch(part.strip())
        if clause is None:
            raise RecipeError(f"the conda package '{spec}' cannot be translated to a pip requirement")
        operator, version = clause["operator"] or "==", clause["version"]
        # One `=` (also `=1.5.*`) is conda's fuzzy match. `name=1.5.2=build` has a build string, so it is exact.
        if operator == "=":
            exact = part.count("=") > 1 or version.endswith("*")
            operator, version = "==", version if exact else f"{version}.*"
        if version != "*":
            clauses.append(operator + version)
    return match["name"].lower(), ",".join(clauses)


def _python_version(version: str) -> str | None:
    match = re.search(r"\d+\.\d+", version)
    return match[0] if match else None


# -- build contexts -----------------------------------------------------------------------------------------------

_FROM = re.compile(r"^\s*FROM\s+(?:--platform=\S+\s+)?(\S+)", re.IGNORECASE | re.MULTILINE)
_FILE_WORD = re.compile(r"[\w./-]+\.(?:txt|in|ya?ml)\b")


def _from_build_context(context: Path, dockerfile: str, images: Path | None) -> Requirements:
    """Return the requirements of a Docker build context, as far as they are known without Docker.

    They are those of the last FROM image. Of the context's files that the Dockerfile names, a conda file (`.yml` or
    `.yaml` with `dependencies`) replaces them, and each `requirements*.txt` is added to them. Other instructions, such
    as ENV and RUN, have no effect.
    """
    path = context / dockerfile
    if not path.is_file():
        raise RecipeError(f"the build context has no file '{dockerfile}'")
    text = path.read_text(encoding="utf-8")
    bases = _FROM.findall(text)
    if not bases:
        raise RecipeError(f"'{dockerfile}' has no FROM instruction")
    named = [found for word in _FILE_WORD.findall(text) if (found := _find_in(context, word)) is not None]
    for file in named:
        if file.suffix in {".yml", ".yaml"} and "dependencies:" in (conda := file.read_text(encoding="utf-8")):
            return parse_conda(conda)
    base = _from_image(bases[-1], images)
    requirement_files = (file for file in dict.fromkeys(named) if file.name.startswith("requirements"))
    return Requirements(base.python, base.lines, tuple(requirement_files))


def _find_in(context: Path, word: str) -> Path | None:
    """Return the context's file that a word of the Dockerfile names, even if COPY moved it before, or None."""
    candidates = [context / word.lstrip("/"), context / Path(word).name]
    return next((file for file in candidates if file.is_file() and context in file.resolve().parents), None)
