"""Why a server gave no answer, in words and with what mends it: libraries name a class, and put the
whole URL, with its API key, into their messages."""

import asyncio
import errno

import aiohttp

REFUSED = "connection refused: nothing listens there; start the node, or mend the host and port"
UNKNOWN_NAME = (
    "its name is not found; look for a slip in the URL, and whether this machine resolves names"
)
NO_WAY = "no way leads there ({}); look for a slip in the URL, and at this machine's network"
TLS = (
    "no TLS connection comes about; use http:// where the node has no TLS, else mend its certificate "
    "or this machine's clock"
)
TIMED_OUT = "timed out; it is too slow, or a firewall lets nothing through"
CUT = "it cut the connection; try again, or look at its log"
NO_JSON = "its answer is no JSON-RPC; is there a JSON-RPC endpoint at this URL?"
REFUSES_KEY = "HTTP status {}; it wants another API key than the URL has, or none of this address"


def in_words(error: Exception) -> str:
    """Of what an HTTP request ended with; the class's name where nothing better is known."""
    match error:
        case aiohttp.ClientResponseError(status=401 | 403 as status):
            return REFUSES_KEY.format(status)
        case aiohttp.ClientResponseError(status=status):
            return f"HTTP status {status}"
        case asyncio.TimeoutError():
            return TIMED_OUT
        case aiohttp.ClientConnectorDNSError():
            return UNKNOWN_NAME
        case aiohttp.ClientSSLError():
            return TLS
        case aiohttp.ClientConnectorError() if error.os_error.errno == errno.ECONNREFUSED:
            return REFUSED
        case aiohttp.ClientConnectorError():
            return NO_WAY.format(error.os_error.strerror or type(error.os_error).__name__)
        case (
            aiohttp.ServerDisconnectedError()
            | aiohttp.ClientPayloadError()
            | aiohttp.ClientOSError()
        ):
            return CUT
        case ValueError() | AttributeError() | TypeError() | RecursionError():
            return NO_JSON
        case _:
            return type(error).__name__
