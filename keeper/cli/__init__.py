"""The command line: the only code that prints or exits."""

import sys

from keeper.cli.errors import refuse_secrets, told


def main() -> None:
    """Entry point of the console script."""
    with told():
        refuse_secrets(sys.argv[1:])
        from keeper.cli.root import app

        app(prog_name="keeper")
