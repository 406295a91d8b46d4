"""YAML files of rollout folders, with their faults in words. Values are not shown: they may be passwords."""

import re
from pathlib import Path
from typing import Any

import yaml

from rollway.settings import ROLLOUT_FILE
from rollway.spec import Problem, did_you_mean

_PURPOSES = {
    "endpoint.yml": "the endpoint, as `az ml online-endpoint create --file` takes it",
    "deployment.yml": "the online deployment, as `az ml online-deployment create --file` takes it",
    "rollout.yml": "Rollway's own, with at least a smoke_test",
}
_ADVICE = (
    (r"cannot start any token", "YAML has no tabs: indent with spaces"),
    (r"mapping values are not allowed", "check the indentation, and quote text that contains ': '"),
    (r"could not find expected ':'", "write `key: value`, with a space after the colon"),
    (r"found another document", "remove the line ---: a file describes one thing"),
    (r"expected '?<?(block end|,)", "close the bracket or quote before it, or check the indentation"),
    (r"undefined alias|tag|scanning a simple key|quoted scalar", "quote text that begins with a special character"),
)


class _Loader(yaml.SafeLoader):
    """A loader that refuses a key that is there twice, of which YAML would keep the last one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if (first := lines.get((key.tag, key.value))) is not None:
                text = f"the key {key.value!r} is there twice, first in line {first}: remove one of them"
                raise yaml.MarkedYAMLError(problem=text, problem_mark=key.start_mark)
            lines[key.tag, key.value] = key.start_mark.line + 1
        return node


class _OwnLoader(_Loader):
    """The loader of rollout.yml: 16:00 is text. YAML 1.1 takes it for sixteen times sixty, and so 9 for 00:09.

    Azure's files are read as the SDK reads them, with these numbers.
    """

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        is_number = tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        return "tag:yaml.org,2002:str" if is_number and ":" in value else tag


def read_yaml(path: Path, problems: list[Problem]) -> object:
    """Return the content of a file; add a problem and return None if there is none."""
    parse = parse_own_yaml if path.name == ROLLOUT_FILE else parse_yaml
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(Problem(file=str(path), message=_missing(path)))
    except UnicodeDecodeError as error:
        problems.append(Problem(file=str(path), message=f"cannot be read: {error}; save it as UTF-8"))
    except OSError as error:
        problems.append(Problem(file=str(path), message=f"cannot be read: {error.strerror or error}"))
    except yaml.YAMLError as error:
        problems.append(Problem(file=str(path), message=yaml_fault(error)))
    except ValueError:  # its text may be a part of a secret
        message = "has a date or a number that does not exist: quote it if it is text"
        problems.append(Problem(file=str(path), message=message))
    return None


def parse_yaml(text: str) -> object:
    """Return the content of a text; raises yaml.YAMLError, or ValueError for a date that does not exist."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader)


def parse_own_yaml(text: str) -> object:
    """Return the content of a rollout.yml; raises the same errors."""
    return yaml.load(text, Loader=_OwnLoader)  # noqa: S506 (a safe loader)


def yaml_fault(error: yaml.YAMLError) -> str:
    """Return what is wrong with a file, where, and what to do."""
    mark = getattr(error, "problem_mark", None)
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    # YAML takes text that begins with * for an alias and with ! for a tag, but it may be a password.
    fault = re.sub(r"(alias|tag|tag handle) '.*'", r"\1", str(getattr(error, "problem", None) or error))
    advice = next((f"; {hint}" for words, hint in _ADVICE if re.search(words, fault)), "")
    return f"is not valid YAML: {fault}{place}{advice}"


def _missing(path: Path) -> str:
    """Return the words for a missing file: the one that has its name with another suffix, or what it is for."""
    names = [one.name for one in path.parent.iterdir() if one.is_file() and one.name not in _PURPOSES]
    same = sorted(name for name in names if name.lower().partition(".")[0] == path.stem)
    if same:
        return f"the file is missing, and {same[0]} is there: rename it to {path.name}"
    close = did_you_mean(path.name, [name for name in names if name.endswith((".yml", ".yaml"))])
    return f"the file is missing: {_PURPOSES[path.name]}{close}"
