"""A rule of the catalogue: the errors that it fits, their cause and the next action."""

import re
from dataclasses import dataclass

from rollway.errors import Cause


@dataclass(frozen=True)
class Rule:
    """A rule for errors with one of `codes`, `words` in the message and one of `statuses`; an empty field fits any."""

    codes: str  # separated by spaces
    cause: Cause
    hint: str
    words: str = ""  # a regular expression
    statuses: tuple[int, ...] = ()

    def fits(self, status: int, code: str, message: str) -> bool:
        return (
            (not self.codes or code in self.codes.lower().split())
            and (not self.statuses or status in self.statuses)
            and re.search(self.words, message, re.IGNORECASE | re.DOTALL) is not None
        )
