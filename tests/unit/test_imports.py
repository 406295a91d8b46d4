"""Imports without the garbage collector."""

import gc
import importlib

import pytest

from rollway.imports import quick_imports


def test_nothing_is_collected_in_the_block_and_what_it_made_is_left_alone_later() -> None:
    frozen = gc.get_freeze_count()

    with quick_imports():
        is_collecting = gc.isenabled()
        made: list[list[int]] = [[] for _ in range(1000)]

    assert (is_collecting, gc.isenabled()) == (False, True)
    assert gc.get_freeze_count() >= frozen + len(made)


def test_the_collector_is_back_after_an_import_that_failed() -> None:
    with pytest.raises(ModuleNotFoundError), quick_imports():
        importlib.import_module("no_such_package")

    assert gc.isenabled()


def test_a_block_in_a_block_leaves_the_collector_off() -> None:
    with quick_imports():
        with quick_imports():
            pass
        is_collecting = gc.isenabled()

    assert (is_collecting, gc.isenabled()) == (False, True)
