"""What people are told of a server that gives no answer."""

import errno
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from keeper.chain.unanswered import in_words

KEY = ConnectionKey("node.example", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "Connect call failed")),
            "connection refused: nothing listens there; start the node",
        ),
        (
            aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name or service not known")),
            "its name is not found; look for a slip in the URL",
        ),
        (
            aiohttp.ClientConnectorError(KEY, OSError(errno.ENETUNREACH, "Network is unreachable")),
            "no way leads there (Network is unreachable)",
        ),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "wrong")), "no TLS connection"),
        (
            aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("expired")),
            "no TLS connection",
        ),
        (TimeoutError(), "timed out; it is too slow"),
        (aiohttp.ServerTimeoutError(), "timed out; it is too slow"),
        (aiohttp.ServerDisconnectedError(), "it cut the connection"),
        (aiohttp.ClientPayloadError(), "it cut the connection"),
        (ValueError("Expecting value"), "its answer is no JSON-RPC"),
    ],
)
def test_in_words__error_of_the_library__tells_why_and_what_to_do(
    error: Exception, said: str
) -> None:
    told = in_words(error)
    assert told.startswith(said)
    assert "node.example" not in told
    assert type(error).__name__ not in told
