"""Runs a command that ends when the emulator does: `python die_with_parent.py COMMAND…`, never imported.

The emulator holds the other side of standard input; when it is gone, however it ended, so are the command and all that
it started. Standard library only.
"""

import os
import signal
import subprocess
import sys
import threading


def _kill_group_at_eof() -> None:
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    threading.Thread(target=_kill_group_at_eof, daemon=True).start()
    # Descriptors that were passed on purpose, such as a lock, go on to the command.
    sys.exit(subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL, close_fds=False))


if __name__ == "__main__":
    main()
