"""Servers for the tests of this folder: started for the first that asks, stopped when a process has no more of them."""

from tests.support.lab import lab
from tests.support.world import forks, live, postgres, stack, variables, world

__all__ = ["forks", "lab", "live", "postgres", "stack", "variables", "world"]
