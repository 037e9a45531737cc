"""One keeper for each signer of a chain, whatever its journal: two would use the same nonces.

Held as locks on files, named by chain and address, in the user's runtime directory
($XDG_RUNTIME_DIR/keeper, or what stands for it where there is none), and for real chains also in the
user's home as the system knows it, whatever the environment says: a session and a timer job of one
user have different runtime directories. Services without a home share the runtime directory that
their unit gives them. The locks end with the process, however it ends. Keepers of different users or
on different machines do not see each other.
"""

import fcntl
import os
import pwd
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import platformdirs

from keeper.model.errors import ConfigurationError, Problem
from keeper.model.units import Address


class SignerTakenError(ConfigurationError):
    """Another keeper signs for this account, or it cannot be seen whether one does."""

    def __init__(self, signer: Address, path: Path, what: str, fix: str) -> None:
        why = "two keepers with one key would use the same nonces and act twice"
        super().__init__(Problem(where=str(path), what=what, why=why, fix=fix))
        self.signer = signer


@contextmanager
def owned(chain_id: int, signers: Iterable[Address], *, instance: str = "") -> Iterator[None]:
    """Own the signers while the context lasts. `instance` tells apart local chains that share a
    chain id. Raises `SignerTakenError`."""
    with warnings.catch_warnings():
        # Without $XDG_RUNTIME_DIR a folder under /tmp stands for it, which is as good for locks.
        warnings.simplefilter("ignore")
        runtime = platformdirs.user_runtime_path("keeper")
    home = None if instance else _home()
    with ExitStack() as held:
        for signer in sorted(signers):
            name = "-".join(filter(None, [str(chain_id), instance[:18], signer.lower()]))
            for folder in filter(None, (runtime, home)):
                path = folder / f"signer-{name}.lock"
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    lock = held.enter_context(path.open("w"))
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise SignerTakenError(
                        signer,
                        path,
                        f"another keeper signs for {signer} on chain {chain_id}",
                        "stop the other one, or give each its own signers",
                    ) from None
                except OSError as error:
                    if folder is home:
                        # A service's user may have none, or none that it may write.
                        continue
                    raise SignerTakenError(
                        signer,
                        path,
                        f"the lock of {signer} cannot be taken ({error.strerror})",
                        "let keeper's user write this folder, or set XDG_RUNTIME_DIR to one it can",
                    ) from None
        yield


def _home() -> Path | None:
    """Where the user keeps state by the system's own list of users."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir) / ".local" / "state" / "keeper"
    except KeyError:
        return None
