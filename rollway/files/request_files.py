"""Files with requests: those of the smoke test, and recorded ones with one JSON document a line."""

import json
import mimetypes
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from pydantic import JsonValue

from rollway.errors import ConfigurationError, InvalidRollout
from rollway.files.local_files import absent, neighbour
from rollway.rollout.bodies import parse_pattern
from rollway.settings import ROLLOUT_FILE
from rollway.spec import (
    JSON,
    Predictions,
    Problem,
    RolloutFile,
    ScoringRequest,
    check_smoke_test,
    is_json,
    with_boundary,
)

PREDICTIONS, PROBES = "judge.predictions", "judge.probes"
MOST_PROBLEMS = 5  # of one file


def read_requests(folder: str, file: str) -> tuple[JsonValue, ...]:
    """Return the requests of a file, named relative to its rollout folder; blank lines are skipped.

    Raises InvalidRollout with the number of each invalid line.
    """
    path = Path(folder) / file
    requests, faults = _read(path)
    if faults:
        problems = [Problem(file=str(path), message=fault) for fault in faults]
        hint = "write one JSON document a line"
        raise InvalidRollout(f"{path} is not a file of requests", problems, where=str(path), hint=hint)
    return requests


def read_request(path: Path, content_type: str | None = None) -> ScoringRequest:
    """Return the request of a file; raises ConfigurationError if it cannot be read, or is not what it is called.

    Args:
        content_type: Default: by the name of the file, or else JSON.
    """
    named = content_type or mimetypes.guess_type(path.name)[0] or JSON
    try:
        return ScoringRequest(content_type=named).model_copy(update=_body(path, named))
    except OSError as error:
        raise ConfigurationError(
            "the request cannot be read", where=str(path), why=error.strerror, hint="name a file with --file"
        ) from error
    except ValueError as error:
        hint = "correct it, or say with --content-type what it is"
        raise ConfigurationError("the request is not JSON", where=str(path), why=str(error), hint=hint) from error


def read_smoke_requests(rollout: RolloutFile, folder: Path) -> tuple[tuple[ScoringRequest, ...], list[Problem]]:
    """Return the requests of the smoke test with their bodies, and the problems of their files."""
    file, problems, requests = str(folder / ROLLOUT_FILE), list[Problem](), list[ScoringRequest]()
    if isinstance(rollout.smoke_test, str):
        return (), problems
    for field, message in check_smoke_test(rollout.smoke_test):
        problems.append(Problem(file=file, field=field, message=message))
    for field, name, wanted in rollout.smoke_test.all:
        path = folder / wanted.request_file
        request = ScoringRequest(
            name=name,
            content_type=wanted.content_type,
            headers=wanted.headers,
            route=wanted.route,
            expect=wanted.expect,
        )
        try:
            requests.append(request.model_copy(update=_body(path, wanted.content_type)))
        except FileNotFoundError:
            problems.append(Problem(file=file, field=f"{field}.request_file", message=absent(path)))
        except (OSError, ValueError) as error:
            message = f"{path} {error}" if isinstance(error, ValueError) else f"{path} cannot be read: {error}"
            problems.append(Problem(file=file, field=f"{field}.request_file", message=message))
    return tuple(requests), problems


def _body(path: Path, content_type: str) -> dict[str, object]:
    """Return the fields of a request that its file decides; raises ValueError if the file is something else."""
    content = path.read_bytes()
    if not is_json(content_type):
        return {"content": content, "content_type": with_boundary(content_type, content)}
    try:
        return {"document": parse_json(content.decode())}
    except ValueError as error:
        guess = mimetypes.guess_type(path.name)[0]
        other = guess if guess and not is_json(guess) else "text/plain"
        raise ValueError(
            f"is not JSON: {error}; if it is no JSON, say what it is, as in content_type: {other}"
        ) from error


def check_requests(rollout: RolloutFile, folder: Path) -> Iterator[Problem]:
    """Yield the problems of the request files that a progressive rollout.yml names, and of how they are used."""
    if rollout.progression is None:
        return
    file, judge = str(folder / ROLLOUT_FILE), rollout.judge
    if judge.source != "metrics" and judge.probes.requests is None and not _has_probes(rollout):
        message = "is missing: the smoke test has no request that probes could send"
        yield Problem(file=file, field=f"{PROBES}.requests", message=message)
    if judge.predictions is not None:
        path = folder / judge.predictions.requests
        requests, faults = _read(path)
        found = [("requests", f"{path}: {fault}") for fault in faults]
        found += _problems_of_use(judge.predictions, path, None if faults else len(requests))
        for field, message in found:
            yield Problem(file=file, field=f"{PREDICTIONS}.{field}", message=message)
    if judge.probes.requests is not None:
        path = folder / judge.probes.requests
        for fault in _read(path)[1]:
            yield Problem(file=file, field=f"{PROBES}.requests", message=f"{path}: {fault}")


def _has_probes(rollout: RolloutFile) -> bool:
    test = rollout.smoke_test
    return not isinstance(test, str) and any(one.expect.status == HTTPStatus.OK for _, _, one in test.all)


def parse_json(text: str) -> JsonValue:
    """Return a JSON document; raises ValueError."""
    document: JsonValue = json.loads(text, parse_constant=_refuse_constant)
    return document


def _refuse_constant(name: str) -> None:
    # Python would read and send NaN and Infinity, which JSON does not have.
    raise ValueError(f"{name} is not a JSON value")


def _problems_of_use(wanted: Predictions, path: Path, count: int | None) -> Iterator[tuple[str, str]]:
    """Yield settings that can never give a verdict, and invalid paths.

    Args:
        count: Number of the requests in the file; None if it is invalid.
    """
    demanded = f"minimum_requests demands {wanted.minimum_requests}"
    if count is not None and count < wanted.minimum_requests:
        yield "requests", f"{path} has {count} request{'' if count == 1 else 's'}, {demanded}"
    if wanted.sample < wanted.minimum_requests:
        yield "sample", f"{wanted.sample} requests are too few, {demanded}"
    for number, pattern in enumerate(wanted.ignore):
        try:
            parse_pattern(pattern)
        except ValueError as error:
            yield f"ignore.{number}", str(error)


def _read(path: Path) -> tuple[tuple[JsonValue, ...], list[str]]:
    """Return the requests of a file and its faults in words."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return (), [f"there is no such file{neighbour(path)}"]
    except (OSError, UnicodeDecodeError) as error:
        return (), [f"cannot be read: {error}"]
    requests, faults = list[JsonValue](), list[str]()
    for number, line in enumerate(text.split("\n"), start=1):  # a JSON text may contain the other ends of lines
        if line.strip():
            try:
                requests.append(parse_json(line))
            except json.JSONDecodeError as error:
                faults.append(f"line {number} is not JSON: {error.msg} (column {error.colno})")
            except ValueError as error:
                faults.append(f"line {number} is not JSON: {error}")
    if len(faults) > MOST_PROBLEMS:
        faults[MOST_PROBLEMS:] = [f"{len(faults) - MOST_PROBLEMS} more lines are not JSON"]
    if not requests and not faults:
        faults = ["has no requests"]
    return tuple(requests), faults
