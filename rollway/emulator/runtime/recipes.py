"""Translation of an Azure ML environment version to a Python version and pip requirements.

It reads the build context and the mapping files, and nothing else. Errors are RecipeErrors with a text for the build
log.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from rollway.emulator.runtime.dockerfile import Dockerfile, parse_dockerfile
from rollway.emulator.runtime.interpreters import OWN_VERSION
from rollway.emulator.runtime.mapping import BuildEntry, MappedImage, MappingError, find_mapped

ImageErrorCode: TypeAlias = Literal["ImageBuildFailure", "BadArgument"]


@dataclass(frozen=True)
class ImageRecipe:
    """An Azure ML environment version: an image, an image and a conda file, or a build context.

    Args:
        conda_file: YAML text.
        build_context: Folder of an unpacked Docker build context.
        dockerfile: Path of the Dockerfile in the build context.
        arguments: Values of the Dockerfile's ARG.
    """

    image: str | None
    conda_file: str | None
    build_context: Path | None = None
    dockerfile: str = "Dockerfile"
    arguments: Mapping[str, str] = field(default_factory=dict)

    def with_build(self, build: BuildEntry) -> "ImageRecipe":
        """Return the recipe of a build context that stands for this image."""
        return ImageRecipe(None, None, build.path, build.dockerfile, build.arguments)

    def read_dockerfile(self) -> str:
        """Return the text of the Dockerfile. Raises RecipeError if there is none in the build context."""
        context = (self.build_context or Path()).resolve()
        path = (context / self.dockerfile).resolve()
        if not path.is_file() or context not in path.parents:
            raise RecipeError(f"the build context has no file '{self.dockerfile}'")
        return path.read_text(encoding="utf-8")


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
    in the mapping files; one that is mapped to a build context must be replaced with `expand` first. For a build
    context see `_from_build_context`.

    Args:
        images: Mapping file that is searched before the built-in one.
    """
    if recipe.build_context is not None:
        return _from_build_context(recipe, recipe.build_context, images)
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


def find_image(reference: str, images: Path | None) -> MappedImage:
    """Return the entry of the mapping files for an image. Raises RecipeError with code BadArgument."""
    name = repository_and_tag(reference)
    try:
        found = find_mapped(name, images)
    except MappingError as exc:
        raise RecipeError(str(exc), "BadArgument") from exc
    if found is None:
        server = next((server for part, server in _OTHER_SERVERS.items() if part in name), None)
        why, what = "it is not in the emulator's mapping of images to Python packages", "it"
        if server is not None:
            why, what = f"{server} is not emulated", "a command of your own for it"
        raise RecipeError(
            f"image '{reference}' cannot be pulled: {why}. "
            f"Write {what} into a mapping file, and start the emulator with --images FILE",
            "BadArgument",
        )
    return found


def expand(recipe: ImageRecipe, images: Path | None) -> ImageRecipe:
    """Return the recipe of the build context that a mapping file gives for an image; any other recipe unchanged."""
    if recipe.image is None or recipe.conda_file is not None or recipe.build_context is not None:
        return recipe
    build = find_image(recipe.image, images).build
    return recipe if build is None else recipe.with_build(build)


# Servers that are not Python packages, by a part of the names of their images.
_OTHER_SERVERS = {
    "tensorflow/serving": "TensorFlow Serving",
    "torchserve": "TorchServe",
    "tritonserver": "Triton",
    "rstudio/plumber": "plumber",
}


def _from_image(reference: str, images: Path | None) -> Requirements:
    entry = find_image(reference, images)
    if entry.build is not None:
        raise RecipeError(f"image '{reference}' is mapped to a build context, so it cannot be the base of another one")
    return Requirements(entry.python, entry.pip)


# -- conda files --------------------------------------------------------------------------------------------------

# Without a version they are left to the build, which installs them in every environment.
_BUILD_TOOLS = {"pip", "setuptools", "wheel"}
_PYTHON_VERSIONS = [f"3.{minor}" for minor in range(14, 5, -1)]

# Names that differ between conda-forge and PyPI. None: nothing to install from PyPI.
_PYPI_NAMES: dict[str, str | None] = {
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
    return Requirements(python, tuple(line for line in lines if line.strip() not in _BUILD_TOOLS))


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


def _python_version(specifier: str) -> str | None:
    """Return the `major.minor` version of a conda file's Python. None stands for the emulator's own.

    Of a range, the emulator's own is taken if it is one of them, else the newest.
    """
    if exact := re.fullmatch(r"===?(\d+\.\d+)(?:\.[\d*].*)?", specifier):
        return exact[1]
    try:
        allowed = SpecifierSet(specifier)
    except InvalidSpecifier as exc:
        raise RecipeError(f"the conda package 'python{specifier}' asks for no version of Python") from exc
    # `<3.11` leaves out all patch versions of 3.11, `>=3.8.5` only the first ones of 3.8.
    possible = [version for version in [OWN_VERSION, *_PYTHON_VERSIONS] if _is_allowed(version, allowed)]
    if not possible:
        raise RecipeError(f"the conda package 'python{specifier}' asks for a Python that the emulator does not know")
    return None if possible[0] == OWN_VERSION else possible[0]


def _is_allowed(version: str, allowed: SpecifierSet) -> bool:
    return any(allowed.contains(f"{version}.{patch}") for patch in (0, 99))


# -- build contexts -----------------------------------------------------------------------------------------------

_NAME = re.compile(r"\s*([A-Za-z0-9][\w.-]*)")


def _from_build_context(recipe: ImageRecipe, context: Path, images: Path | None) -> Requirements:
    """Return the requirements of a Docker build context, as far as they are known without Docker.

    They are those of the last stage's base image, of the conda file that `conda env update` adds to them or `conda env
    create` puts in their place, and of `pip install`. Other RUN instructions have no effect.
    """
    parsed = parse_dockerfile(recipe.read_dockerfile(), recipe.arguments)
    if parsed is None:
        raise RecipeError(f"'{recipe.dockerfile}' has no FROM instruction")
    base = _from_image(parsed.base, images)
    found = [_find_in(context, parsed, path) for path in parsed.requirement_files]
    files = tuple(dict.fromkeys(file for file in found if file is not None))
    conda = Requirements(None, ())
    if parsed.conda_file is not None:
        file = _find_in(context, parsed, parsed.conda_file)
        if file is None:
            raise RecipeError(f"the build context has no file '{posixpath.basename(parsed.conda_file)}'")
        conda = parse_conda(file.read_text(encoding="utf-8"))
        if parsed.is_new_environment:
            base = Requirements(conda.python, ())
    lines = _with_later(_with_later(base.lines, conda.lines), parsed.packages)
    return Requirements(conda.python or base.python, lines, files)


def _with_later(earlier: tuple[str, ...], later: tuple[str, ...]) -> tuple[str, ...]:
    """Return both lists; a package that the later one names too is as it says, like in an environment."""
    names = {_package(line) for line in later}
    return (*(line for line in earlier if _package(line) not in names), *later)


def _package(line: str) -> str:
    match = _NAME.match(line)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else line


def _find_in(context: Path, parsed: Dockerfile, path: str) -> Path | None:
    """Return the context's file that is at an absolute path in the image, or None."""
    root = context.resolve()
    names = (*parsed.sources_of(path), path.lstrip("/"), posixpath.basename(path))
    candidates = (root / name for name in names)
    return next((file for file in candidates if file.is_file() and root in file.resolve().parents), None)
