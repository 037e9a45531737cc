"""Child processes that do not outlive this one."""

import sys
from os import getpid

# Runs between fork and exec in a process of its own: a preexec_fn may deadlock in a program with
# threads. 1 = PR_SET_PDEATHSIG, 9 = SIGKILL: the child must not outlive a parent that was killed.
_LAUNCHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def bound_to_parent(command: list[str]) -> list[str]:
    """The command, to be killed by the kernel when the thread that starts it ends.

    Its first word is the path of a program."""
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(getpid()), *command]
