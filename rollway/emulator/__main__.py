"""`python -m rollway.emulator`: the emulator's own command line."""

from rollway.emulator.cli import main

if __name__ == "__main__":
    main()
