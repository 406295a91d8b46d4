"""Script that runs a command and kills it when its parent ends: `python die_with_parent.py COMMAND…`.

The parent holds the other end of standard input. When the parent ends, even if it is killed, standard input reaches its
end, and the script kills the command and all processes that it started. Standard library only.
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
    # The command inherits the descriptors that the parent passed, such as a lock.
    sys.exit(subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL, close_fds=False))


if __name__ == "__main__":
    main()
