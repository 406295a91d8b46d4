"""The part of the matrices that the tests try: `make test` some cells and examples, `make matrix` all."""

import os

IS_FULL = os.environ.get("ROLLWAY_MATRIX") == "full"
