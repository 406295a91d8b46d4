"""Values as tags of an Azure resource.

Azure allows 256 characters in the value of a tag and 50 tags on a resource ("Use tags to organize your Azure
resources"), so a longer value continues in tags named `<tag>.2`, `<tag>.3`, …; an empty tag means the same as none.
"""

from collections.abc import Iterator, Mapping

MOST_CHARACTERS = 256  # in the value of a tag
PREFIX = "rollway:"
NO_TRAFFIC = "none"


def is_ours(name: str) -> bool:
    """Return True if a tag of that name belongs to the record."""
    return name.startswith(PREFIX)


def value_of(tags: Mapping[str, str], name: str) -> str | None:
    """Return the value that begins in the tag `name`, or None."""
    return "".join(tags[part] for part in _parts(tags, name)) or None


def split(values: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that hold the values; an empty one needs none."""
    tags = {}
    for name, text in values.items():
        for start in range(0, len(text), MOST_CHARACTERS):
            number = start // MOST_CHARACTERS + 1
            tags[name if number == 1 else f"{name}.{number}"] = text[start : start + MOST_CHARACTERS]
    return tags


def on_one_line(text: str) -> str:
    """Return a text of people that fits into one tag."""
    return " ".join(text.split())[:MOST_CHARACTERS].rstrip()


def parse_count(text: str | None) -> int | None:
    """Return the whole number of a text, or None if it is none."""
    return int(text) if text and text.isascii() and text.isdecimal() else None


def traffic_text(traffic: Mapping[str, int] | None) -> str | None:
    """Return a traffic map as text, such as `blue=90,green=10`; None for None."""
    if traffic is None:
        return None
    return ",".join(f"{name}={weight}" for name, weight in sorted(traffic.items())) or NO_TRAFFIC


def parse_traffic(text: str | None) -> dict[str, int] | None:
    """Return the traffic map of a text, or None if `traffic_text` did not write it."""
    if text is None or text == NO_TRAFFIC:
        return None if text is None else {}
    traffic: dict[str, int] = {}
    for entry in text.split(","):
        name, _, weight = entry.partition("=")
        if not (name and name == name.lower() and (percent := parse_count(weight))):
            return None
        traffic[name] = percent
    return traffic if traffic_text(traffic) == text else None


def _parts(tags: Mapping[str, str], name: str) -> Iterator[str]:
    number, part = 1, name
    while tags.get(part):
        yield part
        number, part = number + 1, f"{name}.{number + 1}"
