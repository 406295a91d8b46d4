"""Installation of an Azure ML environment version in the emulator."""

from pathlib import Path

import pytest

from rollway.emulator.runtime.recipes import ImageRecipe, RecipeError, Requirements, parse_conda, resolve

BASE_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"


@pytest.mark.parametrize(
    ("conda", "pip"),
    [
        ("scikit-learn", "scikit-learn"),
        ("scikit-learn=1.5", "scikit-learn==1.5.*"),
        ("scikit-learn=1.5.*", "scikit-learn==1.5.*"),
        ("scikit-learn==1.5.2", "scikit-learn==1.5.2"),
        ("scikit-learn=1.5.2=py311h_0", "scikit-learn==1.5.2"),
        ("scikit-learn 1.5.2", "scikit-learn==1.5.2"),
        ("numpy>=2", "numpy>=2"),
        ("numpy >=2, <3", "numpy>=2,<3"),
        ("numpy~=1.22.0", "numpy~=1.22.0"),
        ("conda-forge::Joblib=*", "joblib"),
        ("pytorch=2.2", "torch==2.2.*"),
    ],
)
def test_a_conda_package_becomes_the_pip_requirement_of_the_same_meaning(conda: str, pip: str) -> None:
    requirements = parse_conda(f"dependencies:\n  - {conda}\n")

    assert requirements.lines == (pip,)


def test_the_python_of_a_conda_file_is_the_interpreter_and_its_pip_list_is_passed_on_as_it_is() -> None:
    text = "dependencies: [python=3.12.4, pip, {pip: ['--pre', 'flask[async]>=3; python_version>\"3\"']}]"

    assert parse_conda(text) == Requirements("3.12", ("--pre", 'flask[async]>=3; python_version>"3"'))


@pytest.mark.parametrize(
    ("python", "version"),
    [
        ("python=3.9", "3.9"),
        ("python=3.9.18", "3.9"),
        ("python==3.9", "3.9"),
        ("python=3.9.*", "3.9"),
        ("python 3.7.4", "3.7"),
        ("python~=3.9.0", "3.9"),
        ("python>=3.8,<3.10", "3.9"),
        ("python<3.10", "3.9"),
        ("python<=3.10", "3.10"),
        ("python>3.7,!=3.9.*,<3.10", "3.8"),
        ("python>=3.8", None),  # the emulator's own
        ("python=3", None),
        ("python", None),
    ],
)
def test_of_a_range_of_pythons_the_emulators_own_is_taken_or_else_the_newest(python: str, version: str | None) -> None:
    assert parse_conda(f"dependencies: ['{python}']").python == version


def test_build_tools_are_left_to_the_build_unless_a_version_is_asked_for() -> None:
    text = "dependencies: [pip, setuptools, wheel, pip=23.0, {pip: [setuptools, 'setuptools<70']}]"

    assert parse_conda(text).lines == ("pip==23.0.*", "setuptools<70")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dependencies: ['python>=4']", "'python>=4' asks for a Python that the emulator does not know"),
        ("dependencies: ['python>=3.8.x.y']", "'python>=3.8.x.y' asks for no version of Python"),
        ("dependencies: {}", "no list of `dependencies`"),
        ("just text", "no list of `dependencies`"),
        ("dependencies: [", "not YAML"),
        ("dependencies: [{pip: flask}]", "neither text nor a `pip` list"),
        ("dependencies: ['numpy[version=>2]']", "'numpy[version=>2]' cannot be translated"),
        ("dependencies: ['numpy 1.5|1.6']", "'numpy 1.5|1.6' cannot be translated"),
    ],
)
def test_a_conda_file_that_cannot_be_understood_fails_the_build_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as failure:
        parse_conda(text)

    assert failure.value.code == "ImageBuildFailure"
    assert message in str(failure.value)


@pytest.mark.parametrize("tag", ["", ":latest", ":20260101.v1", "@sha256:" + "0" * 64])
def test_a_curated_image_alone_installs_what_is_in_it_whatever_its_tag(tag: str) -> None:
    requirements = resolve(ImageRecipe(f"mcr.microsoft.com/azureml/minimal-py312-inference{tag}", None))

    assert requirements.python == "3.12"
    assert "azureml-inference-server-http" in requirements.lines


def test_an_image_that_is_not_in_the_mapping_cannot_be_pulled() -> None:
    with pytest.raises(RecipeError) as failure:
        resolve(ImageRecipe("registry.example.com/team/model:1", None))

    assert failure.value.code == "BadArgument"
    assert "'registry.example.com/team/model:1' cannot be pulled" in str(failure.value)
    assert str(failure.value).endswith("start the emulator with --images FILE")


def test_a_mapping_file_of_the_user_comes_before_the_built_in_one(tmp_path: Path) -> None:
    mapping = tmp_path / "images.yml"
    mapping.write_text("- {image: 'registry.example.com/team/*:1', python: '3.11', pip: [flask]}")

    requirements = resolve(ImageRecipe("registry.example.com/team/model:1", None), mapping)

    assert requirements == Requirements("3.11", ("flask",))


@pytest.mark.parametrize("image", ["not an image", "team/UPPER", "repo:bad tag", "https://mcr.microsoft.com/x"])
def test_a_malformed_image_is_a_bad_argument_even_beside_a_conda_file(image: str) -> None:
    with pytest.raises(RecipeError) as failure:
        resolve(ImageRecipe(image, "dependencies: [numpy]"))

    assert failure.value.code == "BadArgument"
    assert f"'{image}' is not a container image reference" in str(failure.value)


def test_beside_a_conda_file_the_image_installs_nothing() -> None:
    requirements = resolve(ImageRecipe("registry.example.com/team/model:1", "dependencies: [numpy]"))

    assert requirements == Requirements(None, ("numpy",))


def test_a_build_context_adds_the_requirements_that_its_dockerfile_names_to_its_image(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("flask")
    (tmp_path / "Dockerfile").write_text(
        f"FROM {BASE_IMAGE}\nCOPY requirements.txt /tmp/\nRUN pip install -r /tmp/requirements.txt\n"
    )

    requirements = resolve(ImageRecipe(None, None, tmp_path))

    assert requirements == Requirements("3.10", (), (tmp_path / "requirements.txt",))


def test_a_build_context_with_a_conda_file_is_that_conda_file(tmp_path: Path) -> None:
    (tmp_path / "env.yml").write_text("dependencies: [python=3.11, numpy]")
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE_IMAGE}\nCOPY env.yml .\nRUN conda env create -f env.yml\n")

    requirements = resolve(ImageRecipe(None, None, tmp_path))

    assert requirements == Requirements("3.11", ("numpy",))


def test_a_conda_file_that_updates_the_images_environment_is_added_to_it(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/conda.yaml").write_text("dependencies: [python=3.11, numpy=1.26, {pip: [flask]}]")
    (tmp_path / "server.dockerfile").write_text(
        "FROM registry.example.com/base\nARG MODEL\nCOPY $MODEL/conda.yaml /tmp/\n"
        "RUN conda env update -n amlenv --file /tmp/conda.yaml && pip install Flask==3.0.0 rich\n"
    )
    mapping = tmp_path / "images.yml"
    mapping.write_text(
        "- {image: 'registry.example.com/base:*', python: '3.10', pip: [numpy, azureml-inference-server-http]}"
    )

    requirements = resolve(ImageRecipe(None, None, tmp_path, "server.dockerfile", {"MODEL": "model"}), mapping)

    assert requirements == Requirements(
        "3.11", ("azureml-inference-server-http", "numpy==1.26.*", "Flask==3.0.0", "rich")
    )


def test_a_build_context_whose_conda_file_is_missing_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.11\nRUN conda env create -f /tmp/conda.yaml\n")

    with pytest.raises(RecipeError, match=r"no file 'conda\.yaml'"):
        resolve(ImageRecipe(None, None, tmp_path))


@pytest.mark.parametrize("dockerfile", ["../Dockerfile", "/etc/passwd"])
def test_a_dockerfile_outside_of_its_build_context_is_not_read(tmp_path: Path, dockerfile: str) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.11\n")
    (tmp_path / "context").mkdir()

    with pytest.raises(RecipeError, match="the build context has no file"):
        resolve(ImageRecipe(None, None, tmp_path / "context", dockerfile))


def test_a_build_context_that_names_no_file_of_its_own_is_its_image(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.11-slim\nRUN apt-get update\n")

    assert resolve(ImageRecipe(None, None, tmp_path)) == Requirements("3.11", ())


def test_a_dockerfile_cannot_name_a_file_outside_of_its_build_context(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (tmp_path / "requirements.txt").write_text("flask")
    (context / "Dockerfile").write_text("FROM python:3.11\nRUN pip install -r ../requirements.txt\n")

    assert resolve(ImageRecipe(None, None, context)).files == ()


@pytest.mark.parametrize(("dockerfile", "message"), [(None, "no file 'Dockerfile'"), ("RUN true", "no FROM")])
def test_a_build_context_without_a_usable_dockerfile_fails_the_build(
    tmp_path: Path, dockerfile: str | None, message: str
) -> None:
    if dockerfile is not None:
        (tmp_path / "Dockerfile").write_text(dockerfile)

    with pytest.raises(RecipeError) as failure:
        resolve(ImageRecipe(None, None, tmp_path))

    assert failure.value.code == "ImageBuildFailure"
    assert message in str(failure.value)
