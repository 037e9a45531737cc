"""The boundary between errors and exit codes: 0 done, 78 configuration, 75 temporary, 1 the rest.

Wrong usage of a command is 2 and an interrupt 130, as shells know them. No traceback is shown
unless KEEPER_DEBUG is set.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from keeper.model.errors import ConfigurationError, TemporaryError

EXIT_CONFIGURATION = 78
EXIT_TEMPORARY = 75


@contextmanager
def told() -> Iterator[None]:
    """Turn errors into a message on standard error and an exit code."""
    from keeper.config import debugging

    if debugging():
        yield
        return
    # What nobody expected is for the hook, which Python calls last and which ends with 1.
    sys.excepthook = _one_line
    try:
        yield
    except ConfigurationError as error:
        _exit(error, EXIT_CONFIGURATION)
    except TemporaryError as error:
        _exit(error, EXIT_TEMPORARY)
    except ExceptionGroup as group:
        wrong, later = group.subgroup(ConfigurationError), group.subgroup(TemporaryError)
        if wrong is not None:
            _exit(_first(wrong), EXIT_CONFIGURATION)
        if later is not None:
            _exit(_first(later), EXIT_TEMPORARY)
        raise


def refuse_secrets(arguments: Sequence[str]) -> None:
    """A private key or seed phrase among the arguments is refused before anything reads it."""
    from keeper.chain.secrecy import HEX_64
    from keeper.config.document import is_mnemonic, secret_problem

    for argument in arguments:
        if HEX_64.search(argument):
            raise ConfigurationError(secret_problem("command line", "a private key"))
        if is_mnemonic(argument.partition("=")[2] or argument):
            raise ConfigurationError(secret_problem("command line", "a seed phrase"))
    if is_mnemonic(" ".join(arguments)):
        raise ConfigurationError(secret_problem("command line", "a seed phrase"))


def _one_line(
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType | None,  # noqa: ARG001 - sys.excepthook's signature
) -> None:
    if isinstance(error, KeyboardInterrupt):
        return
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = " ".join(str(error).split()) or type(error).__name__
    print(f"keeper: {_redacted(said)}", file=sys.stderr)
    if kind is not type(error) or type(error).__module__ == "builtins":
        print("keeper: unexpected; KEEPER_DEBUG=1 shows where it happened", file=sys.stderr)


def _exit(error: BaseException, code: int) -> None:
    print(f"keeper: {_redacted(str(error))}", file=sys.stderr)
    sys.exit(code)


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def _redacted(text: str) -> str:
    """Messages of libraries may hold an endpoint's URL with its API key."""
    from keeper.service.redaction import Redactor

    return Redactor().text(text)
