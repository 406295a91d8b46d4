"""`python -m rollway`."""

from rollway.cli import main

main()
