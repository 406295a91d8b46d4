"""Parts that every room of the emulator builds on: clock, store, errors, operations, faults, seed."""
