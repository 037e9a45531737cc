"""Every kind of signer keeps one contract: whoever signs, the bytes are the account's own."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_typing import HexStr
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st
from moto.kms.utils import ECDSAPrivateKey
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from keeper.chain.kms_signer import KmsKeyError, KmsMissingError, decode_der
from keeper.chain.local_signer import LocalSigner
from keeper.chain.remote_signer import RemoteKeyMissingError
from keeper.chain.settings import (
    KmsSignerSettings,
    LocalKeySettings,
    RemoteSignerSettings,
    SignerSettings,
)
from keeper.chain.signer import (
    ORDER,
    Signature,
    SignatureUnavailableError,
    Signer,
    UnsignedTransaction,
    signed,
)
from keeper.chain.signers import open_signer
from keeper.model.errors import TemporaryError
from keeper.model.units import Address, Wei
from tests.custody.web3signer import Web3SignerServer, listening

KEY = "0x" + "ab12" * 16
OTHER_KEY = "0x" + "cd34" * 16
ADDRESS = Address(Account.from_key(KEY).address)
TRANSACTION = UnsignedTransaction(
    chain_id=31_337,
    nonce=7,
    to=Address("0x52908400098527886E0F7030069857D2E4169EE7"),
    data=b"\x01\x00",
    value_wei=Wei(0),
    gas_limit=21_000,
    max_fee_wei=Wei(2 * 10**9),
    priority_fee_wei=Wei(10**9),
)

EXPECTED = {
    "chainId": 31_337,
    "nonce": 7,
    "to": bytes.fromhex(TRANSACTION.to[2:]),
    "data": TRANSACTION.data,
    "value": 0,
    "gas": 21_000,
    "maxFeePerGas": 2 * 10**9,
    "maxPriorityFeePerGas": 10**9,
}


def decoded(raw: bytes) -> dict[str, Any]:
    """As eth-account reads them."""
    fields: dict[str, Any] = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    return fields | {"hash": "0x" + keccak(raw).hex()}


def _signed_as_it_is(self: ECDSAPrivateKey, message: bytes, signing_algorithm: str) -> bytes:
    """Moto takes every message for RAW and hashes it once more; AWS signs a DIGEST as it is."""
    assert (len(message), signing_algorithm) == (32, "ECDSA_SHA_256")
    return self.private_key.sign(message, ec.ECDSA(Prehashed(hashes.SHA256())))


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedMotoServer]:
    """AWS' interface on loopback."""
    monkeypatch.setattr(ECDSAPrivateKey, "sign", _signed_as_it_is)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def aws(kms: ThreadedMotoServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of it, and an environment in which AWS' own tools find it."""
    host, port = kms.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL_KMS": f"http://{host}:{port}",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return boto3.session.Session().client("kms")


@pytest.fixture
async def service() -> AsyncIterator[tuple[Web3SignerServer, str]]:
    server = Web3SignerServer([KEY, OTHER_KEY])
    async with listening(server) as url:
        yield server, url


def local(key: str = KEY) -> LocalKeySettings:
    return LocalKeySettings(
        name="alice", keystore=None, keystore_password=None, private_key=SecretStr(key)
    )


def new_kms_key(aws: Any, spec: str = "ECC_SECG_P256K1") -> KmsSignerSettings:
    key = aws.create_key(KeyUsage="SIGN_VERIFY", KeySpec=spec)["KeyMetadata"]
    return KmsSignerSettings(name="alice", key_id=key["KeyId"])


@pytest.fixture(params=["environment", "keystore", "web3signer", "aws-kms"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> SignerSettings:
    match request.param:
        case "environment":
            return local()
        case "keystore":
            path = tmp_path / "alice.json"
            path.write_text(
                json.dumps(Account.encrypt(HexStr(KEY), "bird", kdf="pbkdf2", iterations=1))
            )
            path.chmod(0o600)
            return LocalKeySettings(
                name="alice", keystore=path, keystore_password=SecretStr("bird"), private_key=None
            )
        case "web3signer":
            _, url = request.getfixturevalue("service")
            return RemoteSignerSettings(name="alice", url=url, address=ADDRESS)
        case _:
            return new_kms_key(request.getfixturevalue("aws"))


# -- the contract --------------------------------------------------------------------------------


async def test_signer__signs__every_field_under_a_low_s_and_the_hash_that_a_node_gives(
    settings: SignerSettings,
) -> None:
    signer = await open_signer(settings)
    try:
        # Half of all signatures have the high s, half the odd parity.
        for nonce in range(8):
            transaction = replace(TRANSACTION, nonce=nonce)
            raw, tx_hash = await signed(signer, transaction)
            assert Account.recover_transaction(raw) == signer.address
            fields = decoded(raw)
            assert {key: fields[key] for key in EXPECTED} == EXPECTED | {"nonce": nonce}
            assert fields["s"] <= ORDER // 2
            assert tx_hash == fields["hash"]
    finally:
        await signer.close()


async def test_signer__shown__is_its_name_and_address(settings: SignerSettings) -> None:
    signer = await open_signer(settings)
    assert signer.name == "alice"
    assert repr(signer).endswith(f"(alice, {signer.address})")
    assert KEY[2:] not in repr(signer) + repr(settings)
    await signer.close()


async def test_signer__of_one_key__signs_as_eth_account_does(
    service: tuple[Web3SignerServer, str],
) -> None:
    expected = Account.from_key(KEY).sign_transaction(
        {
            "type": 2,
            "chainId": 31_337,
            "nonce": 7,
            "to": TRANSACTION.to,
            "data": TRANSACTION.data,
            "value": 0,
            "gas": 21_000,
            "maxFeePerGas": 2 * 10**9,
            "maxPriorityFeePerGas": 10**9,
        }
    )
    remote = RemoteSignerSettings(name="alice", url=service[1], address=ADDRESS)
    for each in (local(), remote):
        signer = await open_signer(each)
        raw, tx_hash = await signed(signer, TRANSACTION)
        await signer.close()
        assert raw == bytes(expected.raw_transaction)
        assert tx_hash == expected.hash.to_0x_hex()


class Dishonest:
    """Answers for an account that it has no key of."""

    name, address = "alice", ADDRESS

    def __init__(self, answer: Signature | None = None) -> None:
        self._answer = answer
        self._other = LocalSigner("other", Account.from_key(OTHER_KEY))

    async def sign(self, payload: bytes) -> Signature:
        return self._answer or await self._other.sign(payload)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "answer", [None, Signature(r=0, s=0), Signature(r=1, s=2 * ORDER), Signature(r=2**256, s=1)]
)
async def test_signed__signature_of_another_account__is_refused(answer: Signature | None) -> None:
    with pytest.raises(SignatureUnavailableError, match=f"not of {ADDRESS}"):
        await signed(Dishonest(answer), TRANSACTION)


async def test_signed__high_s__is_brought_down_to_the_same_signature() -> None:
    signer: Signer = LocalSigner("alice", Account.from_key(KEY))
    low = await signer.sign(TRANSACTION.payload)
    raw, _ = await signed(Dishonest(Signature(r=low.r, s=ORDER - low.s)), TRANSACTION)
    assert raw == (await signed(signer, TRANSACTION))[0]


# -- a remote signer -----------------------------------------------------------------------------


async def test_remote__account_is_not_listed__names_those_that_are(
    service: tuple[Web3SignerServer, str],
) -> None:
    stranger = Address("0x52908400098527886E0F7030069857D2E4169EE7")
    with pytest.raises(RemoteKeyMissingError, match=ADDRESS):
        await open_signer(RemoteSignerSettings(name="alice", url=service[1], address=stranger))


async def test_remote__service_is_down__is_temporary_and_shows_no_path() -> None:
    url = "http://127.0.0.1:1/T0K3Nf0rTheService"
    with pytest.raises(TemporaryError, match="does not answer") as caught:
        await open_signer(RemoteSignerSettings(name="alice", url=url, address=ADDRESS))
    assert "T0K3N" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "said"),
    [("refuse", "HTTP status 500"), ("garble", "no signature"), ("drop", "does not answer")],
)
async def test_remote__service_fails__says_why_and_signs_the_next(
    service: tuple[Web3SignerServer, str], fault: str, said: str
) -> None:
    server, url = service
    signer = await open_signer(RemoteSignerSettings(name="alice", url=url, address=ADDRESS))
    server.fault = fault
    with pytest.raises(SignatureUnavailableError, match=said):
        await signed(signer, TRANSACTION)
    server.fault = None
    assert (await signed(signer, TRANSACTION))[0]
    await signer.close()


# -- a key of AWS --------------------------------------------------------------------------------


async def test_kms__key_of_another_curve__is_refused_by_name(aws: Any) -> None:
    with pytest.raises(KmsKeyError, match="not a key of secp256k1"):
        await open_signer(new_kms_key(aws, "ECC_NIST_P256"))


async def test_kms__no_such_key__gives_aws_own_reason(aws: Any) -> None:
    with pytest.raises(KmsKeyError, match="NotFoundException"):
        await open_signer(KmsSignerSettings(name="alice", key_id="nowhere"))


async def test_kms__service_goes_down__gives_no_signature(
    aws: Any, kms: ThreadedMotoServer
) -> None:
    signer = await open_signer(new_kms_key(aws))
    kms.stop()
    with pytest.raises(SignatureUnavailableError, match="no signature"):
        await signed(signer, TRANSACTION)


async def test_kms__nobody_told_aws_who_asks__says_what_to_set(
    aws: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(KmsMissingError, match="AWS_ACCESS_KEY_ID"):
        await open_signer(KmsSignerSettings(name="alice", key_id="any"))


@given(r=st.integers(1, ORDER - 1), s=st.integers(1, ORDER - 1))
def test_decode_der__what_openssl_writes__is_read_back(r: int, s: int) -> None:
    assert decode_der(encode_dss_signature(r, s)) == Signature(r=r, s=s)


@given(st.binary(max_size=80))
def test_decode_der__anything_else__is_a_value_error(noise: bytes) -> None:
    good = encode_dss_signature(2**255, 3)
    for wrong in (noise, good + noise + b"\0", good[: len(noise) % len(good)]):
        with pytest.raises(ValueError, match="signature"):
            decode_der(wrong)
