"""`python -m gateway`."""

import gc
import signal

# Before anything else, imports included: a signal in the first 200 ms must wait for its handler, not end the process.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM, signal.SIGINT})

# What a start makes, stays: looking for garbage in it costs a twentieth of the time to the first poll. `app` turns it on.
gc.disable()


def main() -> int:
    """The console script's entry, too."""
    from gateway.cli.main import main as run_command  # noqa: PLC0415 - after the mask

    return run_command()


if __name__ == "__main__":
    raise SystemExit(main())
