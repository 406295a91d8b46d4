"""Arithmetic on traffic maps: `{online deployment: percent}`, summing to 0 or 100."""

from collections.abc import Mapping


def significant(traffic: Mapping[str, int]) -> dict[str, int]:
    """Return the traffic map as it comes back from Azure: names in lower case, without entries of weight 0.

    The service lower-cases the names, and the SDK drops zeroes before it writes.
    """
    return {name.lower(): weight for name, weight in traffic.items() if weight}


def all_to(name: str) -> dict[str, int]:
    """Return the traffic map in which `name` gets all requests."""
    return {name: 100}


def shift(today: Mapping[str, int], name: str, weight: int) -> dict[str, int]:
    """Return the traffic map in which `name` gets `weight` percent and the others share the rest as they do today.

    Without others `name` gets everything. The sum is 100.
    """
    others = {other: share for other, share in significant(today).items() if other != name.lower()}
    if weight == 100 or not others:
        return all_to(name)
    rest, total = 100 - weight, sum(others.values())
    shares = {other: rest * share // total for other, share in others.items()}
    heaviest = max(shares, key=lambda other: (others[other], other))
    shares[heaviest] += rest - sum(shares.values())
    return {name: weight, **{other: share for other, share in shares.items() if share}}


def is_same(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    """Return True if two maps route alike; entries of weight 0 and letter case do not count."""
    return significant(one) == significant(other)


def served_by(traffic: Mapping[str, int]) -> tuple[str, ...]:
    """Return the online deployments that have traffic, heaviest first."""
    weights = significant(traffic)
    return tuple(sorted(weights, key=lambda name: (-weights[name], name)))


def describe(traffic: Mapping[str, int]) -> str:
    """Return a text such as `blue 90 %, green 10 %`, or `none`."""
    weights = significant(traffic)
    return ", ".join(f"{name} {weights[name]} %" for name in served_by(traffic)) or "none"


def describe_serving(traffic: Mapping[str, int]) -> str:
    """Return a text such as `blue 90 %, green 10 %` for a sentence, or `nothing serves yet`."""
    return describe(traffic) if significant(traffic) else "nothing serves yet"
