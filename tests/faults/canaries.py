"""What must never be seen: the signers' keys, and the API key that is in every URL."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from keeper.devnet.proxy import RecordingProxy
from tests.devnet.keeping.ground import Ground

API_KEY = "cAnArY7TnVb2xW9Lk4RmP8sYd3H5"
PATH = f"/v3/{API_KEY}"
CONFIGURATION = "keeper.toml"


def urls(proxy: RecordingProxy, *, ws: bool) -> dict[str, str]:
    """The endpoint's URLs as a provider gives them out, in the daemon's environment."""
    found = {"KEEPER_CHAIN__RPC_URL": proxy.http_url + PATH}
    return found | ({"KEEPER_CHAIN__WS_URL": f"{proxy.ws_url}/ws{PATH}"} if ws else {})


def files(ground: Ground) -> dict[str, bytes]:
    """What the daemon wrote: the journal with its log of writes, and whatever lies beside it. Its
    configuration, which may hold the API key, is its owner's."""
    return {
        str(path.relative_to(ground.folder)): path.read_bytes()
        for path in ground.folder.rglob("*")
        if path.is_file() and path.name != CONFIGURATION
    }


def processes() -> dict[str, bytes]:
    """The command line of every process, as everybody on the machine can see it. A process's
    environment, where keys come in by, is for its own user's eyes only and is not looked at."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[str(path)] = path.read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended meanwhile
    return found


def leaks(contents: Mapping[str, bytes], private_keys: Iterable[str]) -> list[str]:
    """Where a key stands, as text in any case or as raw bytes."""
    digits = [key.removeprefix("0x") for key in private_keys]
    texts = [each.lower().encode() for each in (API_KEY, *digits)]
    raw = [bytes.fromhex(each) for each in digits]
    return [
        place
        for place, content in contents.items()
        if any(text in content.lower() for text in texts) or any(key in content for key in raw)
    ]
