"""Start one command, wait for it, and write down what it took.

A process of its own, and a small one, because the peak memory that the system tells of a child
begins with that of its parent.

Usage: python launcher.py LOG_FILE COMMAND [ARGUMENT ...]; writes one JSON object to its output:
status (as of a shell; negative: killed by that signal), wall and cpu in seconds, peak_mb.
"""

import json
import os
import sys
import time

log, *words = sys.argv[1:]
said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
started = time.monotonic()
process = os.posix_spawnp(
    words[0],
    words,
    os.environ,
    file_actions=[(os.POSIX_SPAWN_DUP2, said, 1), (os.POSIX_SPAWN_DUP2, said, 2)],
)
_, status, used = os.wait4(process, 0)
wall = time.monotonic() - started
peak_unit = 1024 if sys.platform == "linux" else 1024 * 1024
json.dump(
    {
        "status": os.waitstatus_to_exitcode(status),
        "wall": wall,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / peak_unit,
    },
    sys.stdout,
)
