"""Imports of large packages, which make hundreds of thousands of objects that stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import without the garbage collector, which also leaves alone later what is imported in this block.

    It would find nothing, and looks at all objects again and again: that is a quarter of the import of Azure's SDK.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
