"""Workers by fork: this process loads the libraries once, then every line on its input starts a real worker process of
that runs folder within a fraction of a second and prints its number. Tests that kill fifty workers need that.
"""

import os
import signal
import sys
from pathlib import Path

import engine.worker  # noqa: F401  Its libraries are loaded here, once.
from engine.commands.worker import serve
from engine.records.settings import read_settings


def main() -> None:
    # Ended workers must not linger as zombies, which would look alive.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            serve(read_settings(Path(line.strip())))
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
