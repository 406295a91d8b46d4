"""Files that map container images to what stands for them on this machine."""

from pathlib import Path

import pytest

from rollway.emulator.runtime.mapping import BUILT_IN, BuildEntry, MappedImage, MappingError, find_mapped, read_mapping
from rollway.emulator.runtime.programs import Program, find_program, with_values
from rollway.emulator.runtime.recipes import ImageRecipe, RecipeError, Requirements, expand, resolve

FIXTURES = Path(__file__).parents[1] / "fixtures"
IMAGES = FIXTURES / "images.yml"
OWN_SERVER = FIXTURES / "own_server"


def write(folder: Path, text: str) -> Path:
    file = folder / "images.yml"
    file.write_text(text)
    return file


def test_the_built_in_mapping_is_valid() -> None:
    assert len(read_mapping(BUILT_IN)) > 5


def test_an_entry_has_packages_a_command_and_variables(tmp_path: Path) -> None:
    file = write(
        tmp_path, "- {image: 'a:*', python: '3.11', pip: [x], command: [run, 1], environment_variables: {A: 1}}"
    )

    entry = MappedImage("a:*", "3.11", ("x",), ("run", "1"), {"A": "1"}, False, None, tmp_path)
    assert read_mapping(file) == [entry]
    assert find_mapped("a:1", file) == entry
    assert find_mapped("b:1", file) is None


def test_an_entry_can_be_a_build_context_beside_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "- {image: 'a:*', build: {path: context, dockerfile_path: D, args: {N: 1}}}")

    assert read_mapping(file)[0].build == BuildEntry(tmp_path / "context", "D", {"N": "1"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image: x", "must be a list of images"),
        ("- x", "entry 1: must be a mapping with the key `image`"),
        ("[{image: 'a:*'}, {pip: []}]", "entry 2: `image` is missing"),
        ("- {image: a, comand: [x]}", "unknown key `comand`; known are `image`, `python`, `pip`, `command`"),
        ("- {image: a, python: 3.11}", "`python` must be text"),
        ("- {image: a, command: run it}", "`command` must be a list"),
        ("- {image: a, mlflow: x}", "`mlflow` must be true or false"),
        ("- {image: a, command: []}", "`command` is empty"),
        ("- {image: a, build: {dockerfile_path: x}}", "`build.path` is missing"),
        ("- {image: a, build: {path: x, file: y}}", "unknown key `build.file`"),
        ("- {image: a, pip: [], build: {path: x}}", "`build` says everything: remove `pip`"),
        ("- {image: [", "cannot be read"),
    ],
)
def test_a_wrong_mapping_file_names_its_entry(tmp_path: Path, text: str, problem: str) -> None:
    file = write(tmp_path, text)

    with pytest.raises(MappingError) as caught:
        read_mapping(file)

    assert str(caught.value).startswith(str(file))
    assert problem in str(caught.value)


def test_a_mapped_image_starts_with_its_command() -> None:
    program = find_program(ImageRecipe("registry.example.com/team/own-server:7", None), IMAGES)

    assert program.command == ("python", "{here}/own_server/server.py", "--port", "{port}")
    assert program.here == FIXTURES


def test_an_image_without_a_command_starts_the_inference_server() -> None:
    assert find_program(ImageRecipe("mcr.microsoft.com/azureml/minimal-py312-inference", None), None).command is None
    assert find_program(ImageRecipe("any/image", "dependencies: []"), None) == Program()


def test_a_build_context_starts_as_its_dockerfile_says() -> None:
    program = find_program(ImageRecipe(None, None, OWN_SERVER), None)

    assert program.command == ("python", "/srv/server.py")
    assert program.variables == {"GREETING": "hello", "MODEL_BASE_PATH": "/srv/models"}
    assert (program.context, program.folder) == (OWN_SERVER, "/srv")
    assert program.not_run == ("RUN apt-get update",)


def test_an_image_can_be_mapped_to_a_build_context_with_arguments() -> None:
    recipe = expand(ImageRecipe("registry.example.com/team/built:1", None), IMAGES)

    assert resolve(recipe, IMAGES) == Requirements("3.11", ("colorama==0.4.6",))
    assert (
        find_program(ImageRecipe("registry.example.com/team/built:1", None), IMAGES).variables["GREETING"]
        == "good morning"
    )


def test_the_start_command_of_microsofts_images_is_the_inference_server(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM mcr.microsoft.com/azureml/minimal-py312-inference\n"
        'ENV A=1 PATH=/x:$PATH\nCMD ["runsvdir", "/var/runit"]\n'
    )

    program = find_program(ImageRecipe(None, None, tmp_path), None)

    assert (program.command, program.variables) == (None, {"A": "1"})


def test_a_build_context_on_azures_mlflow_image_has_its_scoring_script(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM mcr.microsoft.com/azureml/curated/mlflow-py312-inference:latest\n"
        'ENV MLFLOW_MODEL_FOLDER=model\nCMD ["runsvdir", "/var/runit"]\n'
    )

    program = find_program(ImageRecipe(None, None, tmp_path), None)

    assert (program.is_mlflow, program.command, program.variables) == (True, None, {"MLFLOW_MODEL_FOLDER": "model"})
    assert not find_program(ImageRecipe("mcr.microsoft.com/azureml/minimal-py312-inference", None), None).is_mlflow


def test_a_build_context_without_a_start_command_has_that_of_its_base(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM registry.example.com/team/own-server:1\nENV A=1\n")

    program = find_program(ImageRecipe(None, None, tmp_path), IMAGES)

    assert program.command == ("python", "{here}/own_server/server.py", "--port", "{port}")
    assert (program.here, program.variables) == (FIXTURES, {"A": "1"})


@pytest.mark.parametrize(
    ("image", "server"),
    [
        ("docker.io/tensorflow/serving:latest", "TensorFlow Serving"),
        ("pytorch/torchserve:latest-cpu", "TorchServe"),
        ("nvcr.io/nvidia/tritonserver:21.08-py3", "Triton"),
    ],
)
def test_a_server_that_is_not_emulated_says_so_in_one_line_and_what_to_do(
    tmp_path: Path, image: str, server: str
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nENV MODEL_NAME=m\n")
    text = (
        f"image '{image}' cannot be pulled: {server} is not emulated. Write a command of your own for it into a "
        "mapping file, and start the emulator with --images FILE"
    )

    for recipe in (ImageRecipe(image, None), ImageRecipe(None, None, tmp_path)):
        with pytest.raises(RecipeError) as caught:
            find_program(recipe, None)
        assert (str(caught.value), caught.value.code) == (text, "BadArgument")


def test_placeholders_are_replaced_and_other_braces_stay() -> None:
    text = '{port} {port:8502} {port:1} {host} {here}/a {model_dir} {"json": {x}}'

    replaced = with_values(text, {8501: 20001, 8502: 20002}, 8501, Path("/models/m/1"), Path("/home/me"))

    assert replaced == '20001 20002 {port:1} 127.0.0.1 /home/me/a /models/m/1 {"json": {x}}'
