"""The logs of a container: the exception that tells most, in one line, and what to do about it."""

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rollway.errors import RollwayError
from rollway.masking import mask
from rollway.spec.wording import shortened

E = TypeVar("E", bound=RollwayError)

MOST_CHARACTERS, MOST_LINES = 300, 5  # of an exception's text
_FRAME = re.compile(r'\s+File ".*", line \d+')  # of a traceback, or of a syntax error
_RAISED = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?::.*)?")
_CALLED_ERROR = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Exit): .+")
_NEXT_ENTRY = re.compile(r"\[?\d{4}-\d\d-\d\d|Traceback \(most recent call last\)|---")
# The servers raise these around the script's own exception: they only say that there was one.
_AROUND = re.compile(
    r"(?:azureml_inference_server_http|gunicorn|flask|werkzeug|starlette|uvicorn)\."
    r"|HaltServer|SystemExit|KeyboardInterrupt|UserScript(?:Import)?(?:Error|Exception)\b"
)
# The end of a container that raised nothing.
_OTHER_ENDS = re.compile(
    r"No module named \S+$|Worker \(pid:\d+\) was sent SIGKILL! Perhaps out of memory\?", re.MULTILINE
)
_AGAIN = "then run the rollout again"
_CONDA = "to the environment's conda file"
_REMEDIES = (
    (
        r"(?:\w+: )?No module named '?azureml_inference_server_http",
        f"add azureml-inference-server-http {_CONDA}, below pip; {_AGAIN}",
    ),
    (
        r"ModuleNotFoundError: No module named '(?P<name>[^'.]+)",
        f"add the package that has {{name}} {_CONDA}, or {{name}}.py to the code folder; {_AGAIN}",
    ),
    (r"ImportError\b", f"add the package, or another version of it, {_CONDA}; {_AGAIN}"),
    (r"FileNotFoundError\b", f"correct the path: the model is below the folder that AZUREML_MODEL_DIR names; {_AGAIN}"),
    (
        r"MemoryError\b|.*out of memory",
        f"use an instance_type with more memory, or a smaller WORKER_COUNT (deployment.yml); {_AGAIN}",
    ),
)


def last_exception(log: str) -> str | None:
    """Return the last exception of a log in one line, without secrets; None if there is none.

    What a server raises around the script's own exception counts only if there is nothing else. A container that was
    killed, or that has no server, says so in other words.
    """
    found = list(_exceptions(log.splitlines()))
    own = [one for one in found if not _AROUND.match(one)]
    if own or found:
        return _shortened((own or found)[-1])
    ends = _OTHER_ENDS.findall(log)
    return _shortened(ends[-1]) if ends else None


def with_log(error: E, log: str, *, is_cause: bool = True) -> E:
    """Return an error with the logs of its containers.

    Args:
        error: The error, which is changed.
        log: The logs.
        is_cause: True if their last exception is the reason. Then it comes first, and decides what to do.
    """
    error.log = log
    exception = last_exception(log) if is_cause else None
    if exception is not None:
        error.what, error.hint = f"{exception} ({error.what})", remedy(exception) or error.hint
    return error


def remedy(exception: str) -> str | None:
    """Return what to do about an exception; None if that is not known."""
    for words, hint in _REMEDIES:
        if match := re.match(words, exception):
            return hint.format(**match.groupdict())
    return None


def _exceptions(lines: Sequence[str]) -> Iterator[str]:
    """Yield the texts of exceptions: what follows the frames of a traceback, or what is called an error."""
    is_in_frames = False
    for number, line in enumerate(lines):
        if line[:1].isspace():
            is_in_frames = is_in_frames or _FRAME.match(line) is not None
            continue
        if (is_in_frames and _RAISED.fullmatch(line.rstrip())) or _CALLED_ERROR.fullmatch(line.rstrip()):
            yield " ".join([line, *_rest_of_text(lines[number + 1 : number + MOST_LINES])])
        is_in_frames = False


def _rest_of_text(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip() or _NEXT_ENTRY.match(line):
            return
        yield line


def _shortened(text: str) -> str:
    return shortened(" ".join(mask(text).split()), MOST_CHARACTERS)
