"""The command line: the only code that prints or exits."""

import io
import sys

from keeper.cli.errors import refuse_secrets, told


def main() -> None:
    """Entry point of the console script."""
    # Not every terminal and pipe takes every character: what it cannot show is shown as "?".
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.encoding.startswith("utf"):
        sys.stdout.reconfigure(errors="replace")
    with told():
        refuse_secrets(sys.argv[1:])
        from keeper.cli.root import app

        app(prog_name="keeper")
