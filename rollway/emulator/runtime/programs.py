"""Start commands of images: from a mapping file or a Dockerfile, or Microsoft's inference server."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rollway.emulator.runtime.dockerfile import Copied, parse_dockerfile
from rollway.emulator.runtime.mapping import MappedImage
from rollway.emulator.runtime.recipes import ImageRecipe, RecipeError, find_image

# Start command of Microsoft's inference images: their supervisor runs the inference server.
_INFERENCE_SERVER = ("runsvdir", "/var/runit")
_PLACEHOLDER = re.compile(r"\{(?:(?P<name>host|here|model_dir)|port(?::(?P<port>\d+))?)\}")
_NOT_OF_THE_IMAGE = ("PATH", "LD_LIBRARY_PATH", "HOME")  # they name folders that this machine does not have


@dataclass(frozen=True)
class Program:
    """The start command of an image, and what belongs to it.

    Args:
        command: None for Microsoft's inference server.
        variables: Of the image. The online deployment's own come after them.
        mapped_variables: Of the mapping file. They come after the online deployment's, because they say how the
            command runs on this machine.
        context: Build context from which `copied` are taken.
        folder: Working directory, as an absolute path in the image.
        here: Folder of the mapping file.
        is_mlflow: Without a scoring script, the inference server serves the MLflow model in MLFLOW_MODEL_FOLDER.
        not_run: Instructions of the Dockerfile that have no effect here.
    """

    command: tuple[str, ...] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    mapped_variables: Mapping[str, str] = field(default_factory=dict)
    context: Path | None = None
    copied: tuple[Copied, ...] = ()
    folder: str = "/"
    here: Path = Path("/")
    is_mlflow: bool = False
    not_run: tuple[str, ...] = ()


def find_program(recipe: ImageRecipe, images: Path | None) -> Program:
    """Return how the container of an environment starts.

    Raises RecipeError for an image that no mapping file has.
    """
    if recipe.build_context is None:
        # Beside a conda file, Azure builds an image of its own: any base will do.
        mapped = find_image(recipe.image, images) if recipe.image and recipe.conda_file is None else None
        if mapped is None or mapped.build is None:
            return _of_mapped(mapped)
        recipe = recipe.with_build(mapped.build)
    return _of_dockerfile(recipe, images)


def _of_mapped(mapped: MappedImage | None) -> Program:
    if mapped is None:
        return Program()
    return Program(
        command=mapped.command,
        mapped_variables=mapped.environment_variables,
        here=mapped.here,
        is_mlflow=mapped.is_mlflow,
    )


def _of_dockerfile(recipe: ImageRecipe, images: Path | None) -> Program:
    assert recipe.build_context is not None  # noqa: S101 - checked by the caller
    parsed = parse_dockerfile(recipe.read_dockerfile(), recipe.arguments)
    if parsed is None:
        raise RecipeError(f"'{recipe.dockerfile}' has no FROM instruction")
    base = _of_mapped(find_image(parsed.base, images))
    command = base.command
    if parsed.entrypoint is not None or parsed.command is not None:
        words = (*(parsed.entrypoint or ()), *(parsed.command or ()))
        command = None if words in ((), _INFERENCE_SERVER) else words
    return Program(
        command=command,
        variables={name: value for name, value in parsed.variables.items() if name not in _NOT_OF_THE_IMAGE},
        mapped_variables=base.mapped_variables,
        context=recipe.build_context,
        copied=parsed.copied,
        folder=parsed.folder,
        here=base.here,
        is_mlflow=base.is_mlflow,
        not_run=parsed.not_run,
    )


def with_values(text: str, ports: Mapping[int, int], scoring_port: int, model_dir: Path, here: Path) -> str:
    """Return a text of a mapping file with its placeholders replaced.

    `{port}` is this machine's port for the scoring port, and `{port:8081}` the one for another port of the routes.

    Args:
        ports: This machine's port for each port of the routes.
    """
    values = {"host": "127.0.0.1", "model_dir": str(model_dir), "here": str(here)}

    def value(match: re.Match[str]) -> str:
        if match["name"]:
            return values[match["name"]]
        return str(ports.get(int(match["port"] or scoring_port), match[0]))

    return _PLACEHOLDER.sub(value, text)
