"""Stopping a command that runs until it is told to."""

import signal


def stop_on_sigterm() -> None:
    """Let SIGTERM end this command as Ctrl-C does, so that it stops what it started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
