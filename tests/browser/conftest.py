"""Servers for the tests of this folder."""

from tests.support.world import forks, postgres, stack, variables, world

__all__ = ["forks", "postgres", "stack", "variables", "world"]
