"""Files with recorded requests: one JSON document a line."""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from rollway.errors import InvalidRollout
from rollway.rollout.bodies import parse_pattern
from rollway.settings import ROLLOUT_FILE
from rollway.spec import Predictions, Problem, RolloutFile

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
        raise InvalidRollout(f"{path} is not a file of requests", problems, hint="write one JSON document a line")
    return requests


def check_requests(rollout: RolloutFile, folder: Path) -> Iterator[Problem]:
    """Yield the problems of the request files that a progressive rollout.yml names, and of how they are used."""
    if rollout.progression is None:
        return
    file, judge = str(folder / ROLLOUT_FILE), rollout.judge
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
        return (), ["there is no such file"]
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
