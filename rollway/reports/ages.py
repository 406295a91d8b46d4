"""Times as people say them: `3 min ago`, `for 2 h`, `57 min more`."""

from datetime import datetime, timedelta

from rollway.rollout.entries import age, at_text

MOST_DAYS = 14  # from then on a date says more


def span(length: timedelta) -> str:
    """Return a length of time in its largest unit, rounded down, such as `40 s`, `3 min`, `5 h` or `2 days`."""
    seconds = max(0, int(length.total_seconds()))
    for size, unit in ((86_400, "day"), (3600, "h"), (60, "min")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{seconds} s"


def ago(at: str | None, now: datetime) -> str:
    """Return how long ago a time of a record was, such as `3 min ago`; the time itself if that is long ago."""
    since = age(at or "", now)
    if since is None:
        return at or "at an unknown time"
    return f"{span(since)} ago" if since < timedelta(days=MOST_DAYS) else f"on {at_text(at or '')[:10]}"


def lasting(at: str | None, now: datetime) -> str:
    """Return for how long something has been so, such as `for 3 min`."""
    since = age(at or "", now)
    if since is None:
        return ""
    return f"for {span(since)}" if since < timedelta(days=MOST_DAYS) else f"since {at_text(at or '')[:10]}"


def remaining(until: str, now: datetime) -> str:
    """Return how long something stays, such as `57 min more`; empty if that time is over."""
    since = age(until, now)
    return "" if since is None or since >= timedelta() else f"{span(-since)} more"
