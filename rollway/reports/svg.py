"""Pieces of SVG pictures: escaped text, colours for a light and a dark page, and the image inside Markdown.

A page shows such a picture in an `<img>`, which knows nothing of the page except `prefers-color-scheme`. So each
picture has its own opaque background, and stays readable if the page has the other theme.
"""

import base64
import html
import re
from collections.abc import Iterable

WIDTH, FONT_SIZE = 720, 20
_CHARACTER_WIDTH = 0.58 * FONT_SIZE  # of an average character, rather too wide than too narrow
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_LIGHT = {
    "back": "#ffffff",
    "ink": "#1f2328",
    "grid": "#d5dae0",
    "axis": "#57606a",
    "canary": "#0a5fd1",
    "stable": "#4b5563",
    "good": "#177334",
    "bad": "#c81e2b",
    "unsure": "#8f5f00",
    "none": "#57606a",
}
_DARK = {
    "back": "#1b1d21",
    "ink": "#eceff3",
    "grid": "#3b4048",
    "axis": "#a9b1bb",
    "canary": "#5aa9ff",
    "stable": "#c3cad3",
    "good": "#4cc566",
    "bad": "#ff7b72",
    "unsure": "#e0a82e",
    "none": "#a9b1bb",
}
_RULES = (
    f"text{{font:{FONT_SIZE}px system-ui,sans-serif;stroke-width:5px;paint-order:stroke;stroke-linejoin:round}}"
    ".title{font-weight:600}.end{text-anchor:end}.middle{text-anchor:middle}"
    ".line{fill:none;stroke-width:3.5}.dashed{stroke-dasharray:9 6}.thin{stroke-width:1.5}.pale{opacity:.28}"
)


def escaped(text: str) -> str:
    """Return a text for use inside XML, without the characters that XML does not allow."""
    return html.escape(_NOT_IN_XML.sub("", text))


def as_image(svg: str, alt: str) -> str:
    """Return a picture as an image inside Markdown, with all its data in the address."""
    name = re.sub(r"([\\\[\]])", r"\\\1", " ".join(_NOT_IN_XML.sub("", alt).split()))
    return f"![{name}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def svgs_in(markdown: str) -> list[str]:
    """Return the pictures that `as_image` put into Markdown, in their order."""
    found = re.findall(r"data:image/svg\+xml;base64,([^)]+)", markdown)
    return [base64.b64decode(one).decode() for one in found]


def document(title: str, description: str, height: float, parts: Iterable[str]) -> str:
    """Return an SVG document with a background, and a title and a description for screen readers."""
    style = f"{_RULES}{_colours(_LIGHT)}@media(prefers-color-scheme:dark){{{_colours(_DARK)}}}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{number(height)}" '
        f'viewBox="0 0 {WIDTH} {number(height)}" role="img"><title>{escaped(title)}</title>'
        f"<desc>{escaped(description)}</desc><style>{style}</style>"
        f'<rect class="back" width="{WIDTH}" height="{number(height)}"/>{"".join(parts)}</svg>'
    )


def text(x: float, y: float, content: str, classes: str = "ink") -> str:
    """Return a text; its classes may be a colour, `title`, and `end` or `middle` for where `x` is."""
    return f'<text class="{classes}" x="{number(x)}" y="{number(y)}">{escaped(content)}</text>'


def text_width(content: str) -> float:
    """Return about how wide a text is."""
    return len(content) * _CHARACTER_WIDTH


def rect(x: float, y: float, width: float, height: float, classes: str) -> str:
    """Return a filled rectangle."""
    return (
        f'<rect class="{classes}" x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"/>'
    )


def path(commands: str, classes: str) -> str:
    """Return a path: a line if its classes say so, else an area."""
    return f'<path class="{classes}" d="{commands}"/>'


def number(value: float) -> str:
    """Return a coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def _colours(palette: dict[str, str]) -> str:
    """Return the rules that give each colour to texts, areas and lines."""
    rules = [f".{name}{{fill:{value}}}.line.{name}{{fill:none;stroke:{value}}}" for name, value in palette.items()]
    return "".join([*rules, f"text{{stroke:{palette['back']}}}"])
