"""Small charts of one endpoint for the page: requests, latency and weights over the last minutes, as SVG."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from rollway.emulator.core.samples import Minute, Weights

MINUTES, WIDTH, HEIGHT = 15, 300, 60
Colour = Callable[[str], str]  # of an online deployment, by its name
Part = tuple[float, float, float, float, str]  # x, y, width, height and colour


def requests_chart(minutes: Iterable[tuple[int, str, Minute]], now: float, colour: Colour) -> str:
    """Return the requests of each minute, stacked by online deployment; failed ones are on top in their own colour."""
    counts: dict[int, dict[str, int]] = {}
    for number, name, minute in minutes:
        bar = counts.setdefault(number, {})
        for (status, _), count in minute.statuses.items():
            key = name if status == 200 else ""
            bar[key] = bar.get(key, 0) + count
    total = sum(count for bar in counts.values() for count in bar.values())
    failed = sum(bar.get("", 0) for bar in counts.values())
    most = max((sum(bar.values()) for bar in counts.values()), default=0)
    parts: list[Part] = []
    for number, bar in counts.items():
        y, width = float(HEIGHT), WIDTH / MINUTES
        for name in sorted(bar, key=lambda one: (one == "", one)):
            height = HEIGHT * bar[name] / most
            y -= height
            shade = colour(name) if name else "var(--bad)"
            parts.append((WIDTH - width * (now // 60 - number + 1), y, width - 2, height, shade))
    return _figure("requests per minute", f"{total} in {MINUTES} min, {failed} failed, at most {most} a minute", parts)


def latency_chart(minutes: Iterable[tuple[int, str, Minute]], now: float) -> str:
    """Return the 95th percentile of the latency of each minute."""
    values: dict[int, list[float]] = {}
    for number, _, minute in minutes:
        values.setdefault(number, []).extend(minute.latencies_ms)
    found = {number: sorted(each)[int(0.95 * len(each))] for number, each in sorted(values.items()) if each}
    most = max(found.values(), default=0.0)
    width = WIDTH / MINUTES
    parts: list[Part] = [
        (WIDTH - width * (now // 60 - number + 1), HEIGHT - HEIGHT * value / most, width - 2, HEIGHT, "var(--soft)")
        for number, value in found.items()
    ]
    said = f"{list(found.values())[-1]:.0f} ms now, {most:.0f} ms at most" if found else "no requests"
    return _figure("latency, 95th percentile", said, parts)


def weights_chart(history: Sequence[Weights], now: float, colour: Colour) -> str:
    """Return the weights over time, stacked by online deployment."""
    start = now - 60 * MINUTES
    parts: list[Part] = []
    ends = [one.since for one in history[1:]] + [now]
    for one, end in zip(history, ends, strict=True):
        x, y = WIDTH * max(one.since - start, 0.0) / (60 * MINUTES), float(HEIGHT)
        width = max(WIDTH * (end - start) / (60 * MINUTES) - x, 0.0)
        for name in sorted(one.weights):
            height = HEIGHT * one.weights[name] / 100
            y -= height
            parts.append((x, y, width, height, colour(name)))
    return _figure("weights", describe(history[-1].weights) if history else "no traffic", parts)


def describe(weights: Mapping[str, int]) -> str:
    """Return weights as text."""
    return ", ".join(f"{name} {weight} %" for name, weight in sorted(weights.items()) if weight) or "no traffic"


def _figure(title: str, said: str, parts: Iterable[Part]) -> str:
    rects = "".join(
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" style="fill:{fill}"/>'
        for x, y, width, height, fill in parts
        if height > 0 and x + width > 0
    )
    return (
        f"<figure><figcaption><b>{title}</b> <span>{escape(said)}</span></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{title}: {escape(said)}">{rects}</svg>'
        f"<div class=axis><span>{MINUTES} min ago</span><span>now</span></div></figure>"
    )
