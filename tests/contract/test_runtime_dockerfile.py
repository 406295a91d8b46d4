"""Dockerfiles, read without Docker."""

import shlex

import pytest

from rollway.emulator.runtime.dockerfile import Copied, Dockerfile, parse_dockerfile
from rollway.emulator.runtime.pip_commands import Installed, parse_install


def parse(text: str, **arguments: str) -> Dockerfile:
    found = parse_dockerfile(text, arguments)
    assert found is not None
    return found


def test_variables_files_and_start_command_are_those_of_the_last_stage() -> None:
    found = parse("""
        FROM golang AS build
        ENV OF=build
        CMD ["never"]
        FROM --platform=linux/amd64 python:3.11-slim
        # a comment
        ENV A=1 B="two words"
        ENV OLD form of it
        WORKDIR /srv
        WORKDIR app
        COPY --chown=me server.py models ./
        ENTRYPOINT ["python", "server.py"]
        CMD ["--port", "8501"]
    """)

    assert found.base == "python:3.11-slim"
    assert found.variables == {"A": "1", "B": "two words", "OLD": "form of it"}
    assert found.folder == "/srv/app"
    assert found.copied == (Copied(("server.py", "models"), "/srv/app", is_folder=True),)
    assert (found.entrypoint, found.command) == (("python", "server.py"), ("--port", "8501"))


def test_a_stage_that_begins_from_another_one_has_what_that_one_has() -> None:
    found = parse(
        "FROM python:3.12 AS Base\nENV A=1\nRUN pip install flask\nFROM base\nENV B=2\nRUN pip install rich\n"
    )

    assert (found.base, found.variables, found.packages) == ("python:3.12", {"A": "1", "B": "2"}, ("flask", "rich"))


def test_an_entrypoint_forgets_the_arguments_of_an_earlier_one() -> None:
    assert parse('FROM a\nCMD one\nENTRYPOINT ["two"]\n').command is None


@pytest.mark.parametrize(
    ("instruction", "words"),
    [
        ('CMD ["a", "b c"]', ("a", "b c")),
        ("CMD a 'b c' $D", ("/bin/sh", "-c", "a 'b c' $D")),
        ("CMD []", ()),
        ("CMD [not json]", ("/bin/sh", "-c", "[not json]")),
    ],
)
def test_a_start_command_has_two_forms(instruction: str, words: tuple[str, ...]) -> None:
    assert parse(f"FROM a\n{instruction}\n").command == words


def test_arguments_have_defaults_and_can_be_given() -> None:
    text = "ARG TAG=3.11\nFROM python:${TAG}\nARG TAG\nARG NAME=one\nENV BOTH=${NAME}-$TAG-${NONE:-none}-${NAME:+set}\n"

    assert parse(text).variables == {"BOTH": "one-3.11-none-set"}
    assert parse(text, NAME="two", TAG="3.9").variables == {"BOTH": "two-3.9-none-set"}
    assert parse(text, TAG="3.9").base == "python:3.9"


def test_lines_go_on_after_a_backslash_and_here_documents_to_their_end() -> None:
    found = parse(
        "FROM a\nRUN true && \\  \n\n# between\n  pip install \\\n flask\nRUN <<EOF\npip install rich\nEOF\nENV A=1\n"
    )

    assert (found.packages, found.variables) == (("flask", "rich"), {"A": "1"})


def test_what_is_not_run_is_said() -> None:
    found = parse(
        "FROM a\nRUN --mount=type=cache,target=/x apt-get install -y curl && pip install flask\nCOPY --from=b /x /y\n"
    )

    assert found.packages == ("flask",)
    assert found.not_run == ("RUN apt-get install -y curl", "COPY --from=b /x /y")


def test_packages_and_files_of_pip_are_found() -> None:
    found = parse(
        'FROM a\nWORKDIR /w\nRUN pip install -r requirements.txt -r /abs/more.txt\nRUN ["pip", "install", "x y"]\n'
    )

    assert found.requirement_files == ("/w/requirements.txt", "/abs/more.txt")
    assert found.packages == ("x y",)


@pytest.mark.parametrize(
    ("command", "packages"),
    [
        ("pip install flask>=3 'rich[jupyter]'", ("flask>=3", "rich[jupyter]")),
        ("A=1 sudo python3.11 -m pip install --no-cache-dir -U flask", ("flask",)),
        ("uv pip install --system flask", ("flask",)),
        ("/opt/envs/user/bin/pip install server==$VERSION", ("server",)),
        (
            "pip3 install --extra-index-url https://x -i https://y --pre flask",
            ("--extra-index-url https://x", "--index-url https://y", "--pre", "flask"),
        ),
        ("pip install --target /t --constraint=c.txt . ./wheel.whl flask", ("flask",)),
    ],
)
def test_requirements_of_pip(command: str, packages: tuple[str, ...]) -> None:

    assert parse_install(shlex.split(command)) == Installed(packages)


@pytest.mark.parametrize("command", [[], ["pip", "list"], ["conda", "install", "numpy"], ["echo", "pip", "install"]])
def test_other_commands_install_nothing(command: list[str]) -> None:
    assert parse_install(command) is None


@pytest.mark.parametrize(
    ("command", "is_new"),
    [("conda env create -n user -f /tmp/env.yml", True), ("mamba env update --name=base --file=/tmp/env.yml", False)],
)
def test_environments_of_conda(command: str, is_new: bool) -> None:
    assert parse_install(command.split()) == Installed(conda_file="/tmp/env.yml", is_new_environment=is_new)  # noqa: S108


def test_a_file_in_the_image_is_found_in_the_build_context() -> None:
    found = parse(
        "FROM a\nARG M=x\nCOPY $M/model/conda.yaml /tmp/conda.yaml\nCOPY req*.txt other.txt /tmp/\nCOPY src /srv\n"
    )

    assert list(found.sources_of("/tmp/conda.yaml"))[-1] == "x/model/conda.yaml"  # noqa: S108
    assert "requirements.txt" not in list(found.sources_of("/tmp/nothing"))  # noqa: S108
    assert next(iter(found.sources_of("/tmp/requirements.txt"))) == "requirements.txt"  # noqa: S108
    assert next(iter(found.sources_of("/srv/a/b.txt"))) == "src/a/b.txt"


def test_without_from_there_is_no_image() -> None:
    assert parse_dockerfile("RUN true\n") is None
