"""Dockerfiles, as far as they are understood without Docker: packages, files, variables and the start command.

Nothing is run. Instructions that would change the image in another way (`apt-get`, `curl`, `make`, files of another
stage) are listed in `Dockerfile.not_run`, for the build log.
"""

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from rollway.emulator.runtime.pip_commands import parse_install

_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
_VARIABLE = re.compile(r"\\\$|\$(?:(?P<name>\w+)|\{(?P<braced>\w+)(?::(?P<operator>[-+])(?P<word>[^}]*))?\})")
_COMMANDS = re.compile(r"&&|\|\||[;|\n]")


@dataclass(frozen=True)
class Copied:
    """Files that COPY or ADD takes from the build context to an absolute path in the image."""

    sources: tuple[str, ...]
    destination: str
    is_folder: bool  # the destination is a folder: it ends with `/`, or there are several sources


@dataclass(frozen=True)
class Dockerfile:
    """The last stage of a Dockerfile, and the stages that it begins from.

    Args:
        base: Image of FROM.
        packages: Requirements that `pip install` names, in order.
        requirement_files: Files of `pip install -r`, as absolute paths in the image.
        conda_file: File of `conda env create` or `update`, as an absolute path in the image.
        is_new_environment: True if the conda file is an environment of its own, False if it is added to the image's.
        variables: From ENV.
        entrypoint: None if neither this Dockerfile nor its stages have one; the base image's then counts.
        not_run: Instructions without effect here.
    """

    base: str
    packages: tuple[str, ...] = ()
    requirement_files: tuple[str, ...] = ()
    conda_file: str | None = None
    is_new_environment: bool = False
    copied: tuple[Copied, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/"
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    not_run: tuple[str, ...] = ()

    def sources_of(self, path: str) -> Iterator[str]:
        """Yield the paths in the build context that may have become the file at an absolute path in the image."""
        folder, name = posixpath.split(path)
        for copied in reversed(self.copied):
            for source in copied.sources:
                if copied.destination == path:
                    yield source
                if copied.destination == folder and fnmatchcase(name, posixpath.basename(source)):
                    yield posixpath.join(posixpath.dirname(source), name)
                inside = posixpath.relpath(path, copied.destination)
                if not inside.startswith("."):
                    yield posixpath.join(source, inside)  # COPY takes the content of a folder, not the folder


def parse_dockerfile(text: str, arguments: Mapping[str, str] | None = None) -> Dockerfile | None:
    """Return the last stage of a Dockerfile, or None if it has no FROM.

    Args:
        arguments: Values of `ARG`, as of `docker build --build-arg`.
    """
    given, defaults = dict(arguments or {}), dict[str, str]()
    stages, stage = dict[str, Dockerfile](), None
    scope = dict[str, str]()  # variables that later instructions of the stage see
    for keyword, rest, body in _instructions(text):
        if keyword == "ARG":
            for name, value in _argument_pairs(rest, defaults if stage is None else scope):
                known = given.get(name, defaults.get(name, "") if value is None else value)
                (defaults if stage is None else scope)[name] = known
        elif keyword == "FROM":
            words = [word for word in _replaced(rest, defaults).split() if not word.startswith("--")]
            begun = stages.get(words[0].lower()) if words else None
            stage = begun or Dockerfile(words[0] if words else "")
            scope = dict(stage.variables)
            name = words[2].lower() if len(words) > 2 else ""
        elif stage is not None:
            stage = _after(stage, keyword, rest, body, scope)
            scope |= stage.variables
        if stage is not None and keyword != "ARG":
            stages[name] = stage
    return stage


def _after(stage: Dockerfile, keyword: str, rest: str, body: str, scope: Mapping[str, str]) -> Dockerfile:
    """Return the stage after one more instruction."""
    match keyword:
        case "ENV":
            return replace(stage, variables={**stage.variables, **dict(_pairs(rest, scope))})
        case "WORKDIR":
            return replace(stage, folder=posixpath.normpath(posixpath.join(stage.folder, _replaced(rest, scope))))
        case "ENTRYPOINT":  # an image's CMD is the arguments of its own ENTRYPOINT only
            return replace(stage, entrypoint=_start_words(rest), command=None)
        case "CMD":
            return replace(stage, command=_start_words(rest))
        case "COPY" | "ADD":
            return _after_copy(stage, _replaced(rest, scope))
        case "RUN":
            return _after_run(stage, body or rest, scope)
    return stage


def _after_copy(stage: Dockerfile, rest: str) -> Dockerfile:
    words = _list_or_words(rest)
    flags = [word for word in words if word.startswith("--")]
    *sources, destination = [word for word in words if not word.startswith("--")] or [""]
    is_elsewhere = any(flag.startswith("--from") for flag in flags)
    if not sources or is_elsewhere or any("://" in one or "<<" in one for one in sources):
        return replace(stage, not_run=(*stage.not_run, f"COPY {rest}"))
    where = posixpath.normpath(posixpath.join(stage.folder, destination))
    is_folder = destination.endswith(("/", ".")) or len(sources) > 1
    inside = tuple(posixpath.normpath(one.lstrip("/")) for one in sources)
    return replace(stage, copied=(*stage.copied, Copied(inside, where, is_folder)))


def _after_run(stage: Dockerfile, text: str, scope: Mapping[str, str]) -> Dockerfile:
    text = re.sub(r"^(\s*--\w+=\S+)+", "", text)
    if text.lstrip().startswith("["):
        text = shlex.join(_list_or_words(text))
    for part in _COMMANDS.split(text):
        try:
            words = shlex.split(_replaced(part, scope, keep_unknown=True))
        except ValueError:  # a quote of the shell that was cut
            words = part.split()
        if not words:
            continue
        found = parse_install(words)
        if found is None:
            stage = replace(stage, not_run=(*stage.not_run, f"RUN {' '.join(words)}"))
            continue
        files = tuple(posixpath.normpath(posixpath.join(stage.folder, one)) for one in found.requirement_files)
        stage = replace(
            stage,
            packages=(*stage.packages, *found.packages),
            requirement_files=(*stage.requirement_files, *files),
        )
        if found.conda_file is not None:
            path = posixpath.normpath(posixpath.join(stage.folder, found.conda_file))
            stage = replace(stage, conda_file=path, is_new_environment=found.is_new_environment)
    return stage


def _instructions(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield keyword, the rest of the instruction with its lines joined, and the text of its here-document."""
    lines = iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole = line
        while (cut := re.sub(r"\\\s*$", "", whole)) != whole:
            following = next((one for one in lines if one.strip() and not one.lstrip().startswith("#")), "")
            whole = cut + following
        keyword, _, rest = whole.strip().partition(" ")
        keyword, body = keyword.upper(), list[str]()
        if keyword in ("RUN", "COPY", "ADD") and (heredoc := _HEREDOC.search(rest)):
            for following in lines:
                if following.strip() == heredoc[2]:
                    break
                body.append(following)
        yield keyword, rest.strip(), "\n".join(body)


def _replaced(text: str, scope: Mapping[str, str], *, keep_unknown: bool = False) -> str:
    """Return the text with `$NAME`, `${NAME}` and `${NAME:-word}` replaced; unknown names are empty, or kept."""

    def value(match: re.Match[str]) -> str:
        name = match["name"] or match["braced"]
        if name is None:
            return "$"
        if match["operator"] == "+":
            return match["word"] if scope.get(name) else ""
        if match["operator"] == "-":
            return scope.get(name) or match["word"]
        return scope.get(name, match[0] if keep_unknown else "")

    return _VARIABLE.sub(value, text)


def _argument_pairs(rest: str, scope: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    for word in _words(rest):
        name, is_given, value = word.partition("=")
        yield name, _replaced(value, scope) if is_given else None


def _pairs(rest: str, scope: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the variables of ENV: `NAME=value …`, or the old form `NAME value`."""
    name, _, value = rest.partition(" ")
    if "=" not in name:
        yield name, _replaced(value.strip(), scope)
        return
    for word in _words(rest):
        name, _, value = word.partition("=")
        yield name, _replaced(value, scope)


def _start_words(rest: str) -> tuple[str, ...]:
    """Return the words of CMD or ENTRYPOINT. The shell form runs in a shell, which replaces variables."""
    return tuple(_list(rest) or ("/bin/sh", "-c", rest)) if rest.strip() not in ("", "[]") else ()


def _list_or_words(rest: str) -> list[str]:
    return list(_list(rest) or _words(rest))


def _list(rest: str) -> Sequence[str] | None:
    if not rest.lstrip().startswith("["):
        return None
    try:
        found = json.loads(rest)
    except ValueError:
        return None
    return [str(word) for word in found] if isinstance(found, list) else None


def _words(rest: str) -> list[str]:
    try:
        return shlex.split(rest)
    except ValueError:
        return rest.split()
