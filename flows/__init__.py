"""The flows, one per file: what happens, in order."""
