"""What a failed rollout leaves for the person who looks at it: one artifact, and a short text for an alert.

Strings only, no I/O. Everything that Azure or a container said goes through `mask`.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rollway.errors import Cause, RollwayError, TrafficNotRestored
from rollway.masking import mask
from rollway.reports.timeline import TaskTime, timeline_picture
from rollway.rollout import traffic
from rollway.rollout.preflight import Finding
from rollway.spec import Frozen, RolloutSpec

MOST_LINE = 300  # characters of a line of the short text
_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Exit): .+", re.MULTILINE)
MEANING = {
    Cause.TRANSIENT: "it passes by itself: the same command works later",
    Cause.BUSY: "something else is running on the endpoint: the same command works once that has ended",
    Cause.QUOTA: "a limit is reached: free some, ask for more, or use less",
    Cause.PERMANENT: "the same command fails again: something must be changed first",
    Cause.CONFLICT: "somebody else changed the endpoint: find out who, then decide",
}


class Dossier(Frozen):
    """Why a rollout failed, what to do next, and all that was found out about it.

    `step` is the step that failed; `code` and `error_tree` are Azure's; `why` may have several lines. Traffic is in
    percent by online deployment, None when it could not be read. `cleaned_up` is what was undone, `kept` what was left
    on purpose, `quota` the limits that matter, `notes` the errors that came on top, `clue` the first exception of the
    logs.
    """

    rollout: str
    endpoint: str
    model: str | None
    outcome: str = "aborted"
    task: str
    cause: Cause
    code: str | None = None
    what: str
    where: str | None = None
    why: str | None = None
    next_action: str
    request_id: str | None = None
    error_tree: str | None = None
    logs: str | None = None
    clue: str | None = None
    notes: tuple[str, ...] = ()
    quota: tuple[str, ...] = ()
    timeline: tuple[TaskTime, ...] = ()
    traffic_before: dict[str, int] | None = None
    traffic_now: dict[str, int] | None = None
    cleaned_up: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    retry_command: str
    run_url: str | None = None

    @property
    def headline(self) -> str:
        """One line: which rollout failed where, and the class of the reason."""
        code = f", {self.code}" if self.code else ""
        return f"{self.rollout}: {self.outcome} at {self.task!r} ({self.cause.value}{code})"


def build(
    error: BaseException,
    spec: RolloutSpec,
    *,
    task: str,
    timeline: Sequence[TaskTime] = (),
    traffic_before: Mapping[str, int] | None = None,
    traffic_now: Mapping[str, int] | None = None,
    cleaned_up: Sequence[str] = (),
    kept: Sequence[str] = (),
    logs: str | None = None,
    findings: Sequence[Finding] = (),
    run_url: str | None = None,
    model: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    is_promoted: bool = False,
) -> Dossier:
    """The dossier of any exception; of one that is not ours only the class and its text are known.

    `logs` are the containers' (else the error's own details); `model` is the resolved one (else as the folder says);
    `findings` are the preflight's, of which those about quota are kept when that is the cause; `parameters` are the
    flow's, for the command that repeats the run. `is_promoted` says that the new online deployment serves, and only
    the clearing up behind it has failed.
    """
    known = error if isinstance(error, RollwayError) else _wrap(error)
    logs = _masked(logs or known.details)
    return Dossier(
        rollout=spec.name,
        endpoint=spec.endpoint.name,
        model=model or (str(spec.online_deployment.model) if spec.online_deployment.model else None),
        outcome=_outcome(error, is_promoted),
        task=task,
        cause=known.cause,
        code=known.code,
        what=mask(known.what),
        where=_masked(known.where),
        why=_masked(known.why),
        next_action=known.hint or MEANING[known.cause],
        request_id=known.request_id,
        error_tree=_masked(known.error_tree),
        logs=logs,
        clue=_clue(logs),
        notes=tuple(mask(note.strip()) for note in getattr(error, "__notes__", ())),
        quota=tuple(f"{one}; {one.hint}" for one in findings if one.is_about_quota)
        if known.cause is Cause.QUOTA
        else (),
        timeline=tuple(timeline),
        traffic_before=None if traffic_before is None else dict(traffic_before),
        traffic_now=None if traffic_now is None else dict(traffic_now),
        cleaned_up=tuple(cleaned_up),
        kept=tuple(kept),
        retry_command=_retry_command(spec.folder, parameters or {}),
        run_url=run_url,
    )


def text(dossier: Dossier) -> str:
    """A dozen lines at most, for an alert or a terminal."""
    facts = [
        ("what", dossier.what),
        ("where", dossier.where),
        ("why", dossier.why),
        ("log", dossier.clue),
        ("next", dossier.next_action),
        ("traffic", f"before {_traffic(dossier.traffic_before)}; now {_traffic(dossier.traffic_now)}"),
        ("cleaned up", "; ".join(dossier.cleaned_up)),
        ("kept", "; ".join(dossier.kept)),
        ("retry", dossier.retry_command),
        ("Azure request id", dossier.request_id),
        ("run", dossier.run_url),
    ]
    lines = [f"{name}: {_one_line(value)}" for name, value in facts if value]
    return "\n".join([dossier.headline, *(f"  {line}" for line in lines)])


def cause_and_next_action(error: BaseException) -> tuple[str, str]:
    """Why a step failed, in a few lines, and what to do next, in one: of an error for which there is no dossier yet."""
    known = error if isinstance(error, RollwayError) else _wrap(error)
    code = f", {known.code}" if known.code else ""
    facts = [(name, value) for name, value in (("where", known.where), ("why", known.why)) if value]
    lines = [f"{known.what} ({known.cause.value}{code})", *(f"  {name}: {_one_line(value)}" for name, value in facts)]
    return mask("\n".join(lines)), _one_line(known.hint or MEANING[known.cause])


def markdown(dossier: Dossier) -> str:
    """All of it, as an artifact: the reason and the next action first, the logs last."""
    facts = [
        ("cause", f"{dossier.cause.value}: {MEANING[dossier.cause]}"),
        ("code", dossier.code),
        ("task", dossier.task),
        ("where", dossier.where),
        ("endpoint", dossier.endpoint),
        ("model", dossier.model),
        ("traffic before", _traffic(dossier.traffic_before)),
        ("traffic now", _traffic(dossier.traffic_now)),
        ("Azure request id", dossier.request_id),
        ("run", f"[open in Prefect]({dossier.run_url})" if dossier.run_url else None),
    ]
    summary = "\n".join(one for one in (dossier.what, dossier.why, dossier.clue) if one)
    lines = [f"## {dossier.headline}", "", *_code(summary), ""]
    lines += [f"**Next:** {dossier.next_action}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in facts if value]
    lines += ["", "### Run it again", "", *_code(dossier.retry_command)]
    lines += ["", "Or press Retry in the Prefect UI: steps that are done and still hold are skipped."]
    nothing = "Nothing." if dossier.kept else "Nothing had been changed."
    lines += ["", "### What was cleaned up", "", *(_bullets(dossier.cleaned_up) or [nothing])]
    for title, entries in (("What was kept", dossier.kept), ("Quota", dossier.quota)):
        lines += ["", f"### {title}", "", *_bullets(entries)] if entries else []
    if dossier.timeline:
        lines += ["", "### Timeline", "", timeline_picture(dossier.timeline)]
    for title, part in (
        ("And", "\n\n".join(dossier.notes)),
        ("Azure's whole error", dossier.error_tree),
        ("Logs and details", dossier.logs),
    ):
        lines += ["", f"### {title}", "", *_code(part)] if part else []
    return "\n".join(lines)


def _retry_command(folder: str, parameters: Mapping[str, Any]) -> str:
    """`rollway deploy`, or `rollback` (which has a parameter `to`), with what the run was given, in its workspace."""
    block, version, weight = (parameters.get(name) for name in ("workspace_block", "model_version", "weight"))
    words = ["env", f"ROLLWAY_WORKSPACE_BLOCK={block}"] if block else []
    words += ["rollway", "rollback" if "to" in parameters else "deploy", folder]
    words += ["--to", str(parameters["to"])] if parameters.get("to") else []
    words += ["--model-version", str(version)] if version is not None else []
    words += [f"--{name.replace('_', '-')}" for name in ("dry_run", "force") if parameters.get(name)]
    words += ["--weight", str(weight)] if weight not in (None, 100) else []
    return shlex.join(words)


def _outcome(error: BaseException, is_promoted: bool) -> str:
    if isinstance(error, TrafficNotRestored):
        return "TRAFFIC NOT RESTORED"
    if is_promoted:
        return "promoted, then failed"
    return "aborted" if isinstance(error, Exception) else "stopped"


def _wrap(error: BaseException) -> RollwayError:
    """An exception that is not ours, in our words."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, TimeoutError):
        hint = "see in Azure what holds it up, then run it again: it goes on with what is there"
        return RollwayError("a step took longer than it may", why=said, hint=hint, cause=Cause.TRANSIENT)
    if not isinstance(error, Exception):  # cancelled from the UI, Ctrl-C, or the worker was stopped
        hint = "run it again when you want to: it goes on with what is there"
        return RollwayError("the run was stopped", why=said, hint=hint, cause=Cause.TRANSIENT)
    hint = "this is a fault of Rollway or its surroundings: see the traceback in the run's log, and report it"
    return RollwayError("something unexpected happened", why=said, hint=hint)


def _clue(logs: str | None) -> str | None:
    """What the script itself raised: the inference server wraps it in exceptions of its own, further below."""
    found = _EXCEPTION.search(logs or "")
    return found.group() if found else None


def _traffic(weights: Mapping[str, int] | None) -> str:
    return "unknown" if weights is None else traffic.describe(dict(weights))


def _masked(part: str | None) -> str | None:
    return None if part is None else mask(part)


def _one_line(value: str) -> str:
    line = " ".join(value.split())
    return line if len(line) <= MOST_LINE else f"{line[: MOST_LINE - 1]}…"


def _bullets(lines: Sequence[str]) -> list[str]:
    return [f"- {line}" for line in lines]


def _code(part: str) -> list[str]:
    return ["```text", part.rstrip().replace("```", "'''"), "```"]


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")
