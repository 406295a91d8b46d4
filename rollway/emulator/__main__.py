"""`python -m rollway.emulator`: the emulator's own command line."""

from rollway.emulator.cli import app

if __name__ == "__main__":
    app()
