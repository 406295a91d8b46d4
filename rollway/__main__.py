"""The command `rollway`, and `python -m rollway`."""

from rollway.imports import quick_imports

with quick_imports():
    from rollway.cli import main

if __name__ == "__main__":
    main()
