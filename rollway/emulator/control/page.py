"""HTML page on `/`: for each endpoint its weights, online deployments, charts, logs, and ways to try it."""

import shlex
import sys
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from rollway.emulator.arm.endpoints import ENDPOINT_TYPE, find_deployments, scoring_uri
from rollway.emulator.arm.provisioning import BUILD_LOG, SERVER_LOG
from rollway.emulator.control.charts import MINUTES, latency_chart, requests_chart, weights_chart
from rollway.emulator.control.style import POLICY, SCRIPT, STYLE
from rollway.emulator.control.trial import TRIAL_PATH
from rollway.emulator.core.store import Resource
from rollway.emulator.state import Emulator

MIN_NAMED_WEIGHT = 40
COLUMNS = ("online deployment", "state", "weight", "mirror", "ready", "model")
LOG_LINES, MAX_LOG_BYTES = 200, 64 * 1024
HUES = (212, 152, 32, 280, 350, 92, 190, 48)


async def get_page(request: Request) -> Response:
    """GET `/`: the page."""
    emulator: Emulator = request.app.state.emulator
    emulator.operations.end_due()
    return HTMLResponse(render_page(emulator), headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})


def render_page(emulator: Emulator) -> str:
    """Return the HTML of the page. What has the attribute `data-live` is replaced by the script every few seconds."""
    endpoints = sorted(emulator.store.find(ENDPOINT_TYPE), key=lambda one: (one.name.lower(), one.id))
    running, containers = len(emulator.operations.running), emulator.fleet.container_count()
    facts = [_count(len(endpoints), "endpoint"), _count(containers, "container"), _count(running, "running operation")]
    if emulator.faults:
        facts.append(_count(len(emulator.faults), "declared fault"))
    sections = "".join(_section(emulator, one) for one in endpoints) or _empty(emulator)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Local Azure ML</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main><h1>Local Azure ML</h1>"
        f"<p id=facts data-live>{escape(emulator.url)} · {' · '.join(facts)}</p>{sections}</main>"
        f"<script>{SCRIPT}</script></body></html>"
    )


def _empty(emulator: Emulator) -> str:
    command = f'eval "$({_own_command(emulator, "env")})"'
    text = "Point the Azure clients of a shell at this emulator, and create one:"
    return f"<section id=empty><h2>No endpoints yet</h2><p>{text}</p>{_copyable(command)}</section>"


def _section(emulator: Emulator, endpoint: Resource) -> str:
    properties = endpoint.properties
    deployments = sorted(find_deployments(emulator, endpoint.id), key=lambda one: one.name.lower())
    workspace, auth_mode = endpoint.id.split("/")[8], str(properties["authMode"])
    about = (workspace, str(endpoint.document["location"]), str(endpoint.document["kind"]), auth_mode)
    key, logs = escape(endpoint.guid), "".join(_logs(emulator, one) for one in deployments)
    return (
        f'<section id="{key}"><header><h2>{escape(endpoint.name)}</h2>'
        f'<span id="{key}-state" data-live>{_state(endpoint)}</span><p>{escape(" · ".join(about))}</p></header>'
        f'<div id="{key}-now" data-live>{_now(emulator, endpoint, deployments)}</div>'
        f"{_ways_to_try(emulator, endpoint, deployments)}{logs}</section>"
    )


def _now(emulator: Emulator, endpoint: Resource, deployments: list[Resource]) -> str:
    """Return what changes by itself: the bar of weights, the table of online deployments, and the charts."""
    history, now = emulator.samples.note_weights(endpoint), emulator.clock.now()
    names = sorted({one.name for one in deployments} | {name for one in history for name in one.weights}, key=str.lower)

    def colour(name: str) -> str:
        return _colour(names.index(name)) if name in names else "var(--soft)"

    rows = "".join(_row(emulator, endpoint, one, colour(one.name)) for one in deployments)
    heads = "".join(f"<th{_class(name)}>{name}" for name in COLUMNS)
    table = f"<table><tr>{heads}</tr>{rows}</table>" if rows else "<p>No online deployments.</p>"
    minute = int(now // 60)
    samples = list(emulator.samples.between(endpoint, minute - MINUTES + 1, minute))
    charts = requests_chart(samples, now, colour) + latency_chart(samples, now) + weights_chart(history, now, colour)
    parts = [
        f'<span style="width:{weight}%;background:{colour(one.name)}">{_label(one, weight)}</span>'
        for one in deployments
        if (weight := _weight(endpoint, "traffic", one))
    ]
    bar = f'<div class="bar">{"".join(parts) or "<span class=none>no traffic</span>"}</div>'
    return f"{bar}{table}<div class=charts>{charts}</div>"


def _label(deployment: Resource, weight: int) -> str:
    """Return the text of one part of the bar. A narrow part has only its weight."""
    return f"<b>{escape(deployment.name)}</b> {weight} %" if weight >= MIN_NAMED_WEIGHT else f"{weight} %"


def _row(emulator: Emulator, endpoint: Resource, deployment: Resource, colour: str) -> str:
    revision = emulator.fleet.serving_revision(deployment.id)
    instances = [] if revision is None else revision.instances
    ready = sum(one.is_ready for one in instances)
    model = str(deployment.properties.get("model") or "none").split("/")
    shown = f"{model[-3]}:{model[-1]}" if len(model) > 3 else model[-1]
    mirror = _weight(endpoint, "mirrorTraffic", deployment)
    cells = (
        f'<i style="background:{colour}"></i>{escape(deployment.name)}',
        _state(deployment),
        f"{_weight(endpoint, 'traffic', deployment)} %",
        f"{mirror} %" if mirror else "–",  # noqa: RUF001 - a dash for nothing
        f"{ready} of {deployment.document['sku']['capacity']}",
        escape(shown),
    )
    named = zip(COLUMNS, cells, strict=True)
    row = "".join(f'<td{_class(name)} data-name="{name}"><span>{cell}</span>' for name, cell in named)
    return f"<tr>{row}</tr>"


def _class(column: str) -> str:
    return " class=number" if column in ("weight", "mirror", "ready") else ""


def _ways_to_try(emulator: Emulator, endpoint: Resource, deployments: list[Resource]) -> str:
    """Return a form and a command that send a scoring request."""
    body = emulator.samples.example(endpoint)
    choices = "".join(f'<option value="{escape(one.name)}">{escape(one.name)}</option>' for one in deployments)
    first = emulator.seed.workspaces[0].name  # of its endpoints the name is enough
    which = endpoint.name if endpoint.id.split("/")[8].lower() == first.lower() else endpoint.id
    key = f'-H "Authorization: Bearer $({_own_command(emulator, "key", which)})"'
    trust = "" if emulator.access.bundle is None else f"--cacert {shlex.quote(str(emulator.access.bundle))} "
    curl = (
        f"curl --noproxy {urlsplit(emulator.url).hostname} {trust}{key} -H 'Content-Type: application/json' "
        f"--data {shlex.quote(body)} {scoring_uri(emulator, endpoint)}"
    )
    return (
        f"<details><summary>Try it</summary>"
        f'<form method=post action="{TRIAL_PATH}"><input type=hidden name=endpoint value="{escape(endpoint.id)}">'
        f"<label>request<textarea name=body rows=5 spellcheck=false>{escape(body)}</textarea></label>"
        f"<label>to <select name=deployment><option value=''>by traffic</option>{choices}</select></label> "
        f"<button>Send</button><pre><output></output></pre></form>"
        f"<p>or in a shell:</p>{_copyable(curl)}</details>"
    )


def _logs(emulator: Emulator, deployment: Resource) -> str:
    """Return the ends of the logs of the newest containers of an online deployment, also of one that failed.

    Before there is a container, there is the log of the build of its environment.
    """
    folder = emulator.fleet.newest_folder(deployment.id)
    if folder is None:
        return ""
    found = {f"container {path.parent.name}": path for path in sorted(folder.glob(SERVER_LOG.replace("/0/", "/*/")))}
    logs = []
    for what, path in (found or {"build of the environment": folder / BUILD_LOG}).items():
        name, key = escape(f"{deployment.name}, {what}"), escape(f"{deployment.guid} {what}")
        text = escape(_end_of(path) or "It has written nothing.")
        logs.append(f'<details><summary>Log of {name}</summary><pre id="{key}" data-live>{text}</pre></details>')
    return "".join(logs)


def _end_of(path: Path) -> str:
    """Return the last lines of a file, which may be large; nothing if there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - MAX_LOG_BYTES))
        text = file.read().decode("utf-8", "replace")
    return "".join(text.splitlines(keepends=True)[-LOG_LINES:])


def _copyable(command: str) -> str:
    return f"<div class=command><pre>{escape(command)}</pre><button type=button data-copy>Copy</button></div>"


def _own_command(emulator: Emulator, *words: str) -> str:
    """Return a command of the emulator's own command line that works in any shell and folder."""
    return shlex.join([sys.executable, "-m", "rollway.emulator", *words, "--state", str(emulator.folder)])


def _weight(endpoint: Resource, field: str, deployment: Resource) -> int:
    weights = {name.lower(): int(weight) for name, weight in endpoint.properties[field].items()}
    return weights.get(deployment.name.lower(), 0)


def _state(resource: Resource) -> str:
    return f'<span class="state {escape(resource.state)}">{escape(resource.state)}</span>'


def _colour(number: int) -> str:
    """Return a hue with the saturation and, by theme, the lightness of the style sheet."""
    return f"hsl({HUES[number % len(HUES)]} 60% var(--lightness))"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
