"""The `pluralism` command, which is `python -m modular_pluralism`, too."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command: see `modular_pluralism.cli.app`. Ctrl-C ends it with exit code 130, whatever it is importing."""
    try:
        from modular_pluralism.cli.streams import stand_in_for_closed_streams

        stand_in_for_closed_streams()
        from modular_pluralism.cli.app import main as run

        run()
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # pressed again, it ends the process without a word


if __name__ == "__main__":
    main()
