"""The command line, in this process."""

from rollway.cli import main


def code_of(*arguments: str) -> int:
    """Return the exit code of the process."""
    try:
        main(list(arguments))
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
