"""What of a URL may be shown, and what must be hidden."""

import pytest

from keeper.chain.secrecy import hider, public_host, secret_parts


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://k3y-of-mine.eth.rpc.provider.example/v3", "*.provider.example"),
        ("https://user:pass@k3y.provider.example:8545", "*.provider.example:8545"),
        ("wss://provider.example/k3y", "provider.example"),
        ("http://localhost:8545", "localhost:8545"),
        ("http://127.0.0.1:8545", "127.0.0.1:8545"),
        ("http://[::1]:8545", "[::1]:8545"),
    ],
)
def test_public_host__any_url__shows_domain_and_port_only(url: str, shown: str) -> None:
    assert public_host(url) == shown


def test_secret_parts__every_place_of_a_key__is_found_as_written_and_as_repeated() -> None:
    url = "https://my-user:pass%40word@K3Y-of-mine.eth.provider.example/v3/in-the-path?key=in-query"
    assert secret_parts(url) == {
        "my-user",
        "pass%40word",
        "pass@word",
        "K3Y-of-mine",
        "k3y-of-mine",
        "in-the-path",
        "in-query",
    }


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8545", "http://localhost:8545/", "ws://[::1]", ""]
)
def test_secret_parts__plain_address__has_none(url: str) -> None:
    assert secret_parts(url) == frozenset()


def test_hider__secret_within_another__leaves_nothing_behind() -> None:
    hide = hider({"canary", "canary-bird", ""})
    assert hide("a canary-bird, canaryx") == "a [redacted], [redacted]x"
    assert hider(())("plain") == "plain"
