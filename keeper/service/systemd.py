"""sd_notify: telling systemd how it is, one datagram at a time.

The protocol is `NAME=value` lines to the socket that NOTIFY_SOCKET names; "@" stands for the zero
byte of an abstract one (https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html).
"""

import contextlib
import socket

READY = "READY=1"
WATCHDOG = "WATCHDOG=1"
STOPPING = "STOPPING=1"


class SystemdSocket:
    """Where systemd listens; without an address nobody does, and nothing is said."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    def say(self, *lines: str) -> None:
        """Send the lines. Systemd's not listening is no reason to stop protecting."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), address)
