"""The emulator's own controls: the guard, the `/_emulator/` API and the page for people."""
