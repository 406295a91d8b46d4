"""Imports of large packages, which make hundreds of thousands of objects that stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Turn the garbage collector off in this block, and keep all objects so far out of its later searches.

    It finds nothing among imported objects, but searches them again and again: a quarter of the import of Azure's SDK.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
