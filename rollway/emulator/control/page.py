"""HTML page on `/` with endpoints, weights and online deployments. It reloads itself."""

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from rollway.emulator.arm.endpoints import ENDPOINT_TYPE, find_deployments
from rollway.emulator.core.store import Resource
from rollway.emulator.state import Emulator

REFRESH_SECONDS = 3
MIN_NAMED_WEIGHT = 40
HUES = (212, 152, 32, 280, 350, 92, 190, 48)
STYLE = """
:root{color-scheme:light dark;--text:#1b1f24;--soft:#5b6470;--page:#f6f7f9;--card:#fff;--line:#dfe3e8}
@media(prefers-color-scheme:dark){:root{--text:#e6e9ed;--soft:#9aa4b0;--page:#14171b;--card:#1d2127;--line:#333a43}}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:62rem;margin:0 auto;padding:2rem 1rem}h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:0}
p{margin:.25rem 0;color:var(--soft)}code{font-size:.9em;overflow-wrap:anywhere}
section{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1rem 1.25rem;margin-top:1rem}
header{display:flex;gap:.75rem;align-items:baseline;flex-wrap:wrap}.state{font-size:.8rem;font-weight:600}
.Succeeded{color:#1a7f46}.Failed{color:#c62f2f}.Creating,.Updating,.Deleting,.Scaling{color:#b26a00}
.bar{display:flex;height:1.6rem;border-radius:.35rem;overflow:hidden;background:var(--line);margin:.75rem 0;
font-size:.8rem;font-weight:600;color:#fff}.bar span{display:flex;align-items:center;justify-content:center;
overflow:hidden;white-space:nowrap}.bar .none{flex:1;color:var(--soft)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}th{font-size:.8rem;color:var(--soft);font-weight:600}
th,td{text-align:left;padding:.35rem .75rem .35rem 0;border-top:1px solid var(--line);white-space:nowrap}
td.number,th.number{text-align:right;padding-right:1.5rem}i{display:inline-block;width:.7rem;height:.7rem;border-radius:50%;margin-right:.5rem}
"""


async def get_page(request: Request) -> Response:
    """GET `/`: the page."""
    emulator: Emulator = request.app.state.emulator
    emulator.operations.end_due()
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(render_page(emulator), headers=headers)


def render_page(emulator: Emulator) -> str:
    """Return the HTML of the page."""
    endpoints = emulator.store.find(ENDPOINT_TYPE)
    running, containers = len(emulator.operations.running), emulator.fleet.container_count()
    facts = [_count(len(endpoints), "endpoint"), _count(containers, "container"), _count(running, "running operation")]
    if emulator.faults:
        facts.append(_count(len(emulator.faults), "declared fault"))
    sections = "".join(_section(emulator, one) for one in endpoints) or _empty(emulator)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Local Azure ML</title>'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main><h1>Local Azure ML</h1>"
        f"<p>{escape(emulator.url)} · {' · '.join(facts)}</p>{sections}</main></body></html>"
    )


def _empty(emulator: Emulator) -> str:
    command = f'eval "$(rollway emulator env --state {emulator.folder})"'
    return (
        "<section><h2>No endpoints yet</h2><p>Point any Azure client at this emulator and create one:</p>"
        f"<p><code>{escape(command)}</code></p></section>"
    )


def _section(emulator: Emulator, endpoint: Resource) -> str:
    properties, deployments = endpoint.properties, find_deployments(emulator, endpoint.id)
    workspace, auth_mode = endpoint.id.split("/")[8], str(properties["authMode"])
    about = (workspace, str(endpoint.document["location"]), str(endpoint.document["kind"]), auth_mode)
    rows = "".join(_row(emulator, endpoint, one, number) for number, one in enumerate(deployments))
    heads = (
        "<th>online deployment<th>state<th class=number>weight<th class=number>mirror<th class=number>ready<th>model"
    )
    table = (
        f"<div class=scroll><table><tr>{heads}</tr>{rows}</table></div>" if rows else "<p>No online deployments.</p>"
    )
    head = f"<h2>{escape(endpoint.name)}</h2>{_state(endpoint)}<p>{escape(' · '.join(about))}</p>"
    return f"<section><header>{head}</header>{_bar(endpoint, deployments)}{table}</section>"


def _bar(endpoint: Resource, deployments: list[Resource]) -> str:
    """Return a bar with the weights."""
    parts = [
        f'<span style="width:{weight}%;background:{_colour(number)}">{_label(one, weight)}</span>'
        for number, one in enumerate(deployments)
        if (weight := _weight(endpoint, "traffic", one))
    ]
    return f'<div class="bar">{"".join(parts) or "<span class=none>no traffic</span>"}</div>'


def _label(deployment: Resource, weight: int) -> str:
    """Return the text of one part of the bar. A narrow part has only its weight."""
    return f"{escape(deployment.name)} {weight} %" if weight >= MIN_NAMED_WEIGHT else f"{weight} %"


def _row(emulator: Emulator, endpoint: Resource, deployment: Resource, number: int) -> str:
    revision = emulator.fleet.serving_revision(deployment.id)
    instances = [] if revision is None else revision.instances
    ready = sum(one.is_ready for one in instances)
    model = str(deployment.properties.get("model") or "none").split("/")
    shown = f"{model[-3]}:{model[-1]}" if len(model) > 3 else model[-1]
    mirror = _weight(endpoint, "mirrorTraffic", deployment)
    return (
        f'<tr><td><i style="background:{_colour(number)}"></i>{escape(deployment.name)}<td>{_state(deployment)}'
        f"<td class=number>{_weight(endpoint, 'traffic', deployment)} %"
        f"<td class=number>{f'{mirror} %' if mirror else '–'}"  # noqa: RUF001 - a dash for nothing
        f"<td class=number>{ready} of {deployment.document['sku']['capacity']}<td>{escape(shown)}</tr>"
    )


def _weight(endpoint: Resource, field: str, deployment: Resource) -> int:
    weights = {name.lower(): int(weight) for name, weight in endpoint.properties[field].items()}
    return weights.get(deployment.name.lower(), 0)


def _state(resource: Resource) -> str:
    return f'<span class="state {escape(resource.state)}">{escape(resource.state)}</span>'


def _colour(number: int) -> str:
    return f"hsl({HUES[number % len(HUES)]} 55% 42%)"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
