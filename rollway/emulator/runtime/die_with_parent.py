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
    # The whole group gets SIGTERM. The command decides what to do about it; this script waits for its end.
    signal.signal(signal.SIGTERM, lambda *_: None)
    # The command inherits the descriptors that the parent passed, such as a lock.
    try:
        code = subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL, close_fds=False)
    except OSError as error:
        sys.exit(f"{sys.argv[1]} cannot be started: {error.strerror}")
    sys.exit(code if code >= 0 else 128 - code)  # like a shell for a command that a signal has ended


if __name__ == "__main__":
    main()
