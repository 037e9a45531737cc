"""What only a chain can contradict. The composition root asks the chain; the verdicts are here.

Each check raises `ConfigurationError` at the line of the setting that is wrong.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from keeper.abi.aave_v3 import AddressesProvider
from keeper.abi.perp_v2 import ClearingHouse
from keeper.abi.words import WORD, Function, word_to_address
from keeper.config.document import KeyPath
from keeper.config.networks import network, networks
from keeper.config.settings import PositionSettings, Settings
from keeper.model.units import Address
from keeper.protocols.market_source import PoolMarket

READERS = 2
"""As many endpoints have to see the same."""

PUBLIC_ADDRESSES = frozenset(
    Address(address)
    for address in (
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
        "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
        "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
        "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
        "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
        "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
        "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
        "0xBcd4042DE499D14e55001CcbB24a551F3b954096",
        "0x71bE63f3384f5fb98995898A86B02Fb2426c5788",
        "0xFABB0ac9d68B0B445fB7357272Ff202C5651694a",
        "0x1CBd3b2770909D4e10f157cABC84C7264073C9Ec",
        "0xdF3e18d64BC6A983f673Ab319CCaE4f1a57C7097",
        "0xcd3B766CCDd6AE721141F452C550Ca635964ce71",
        "0x2546BcD3c84621e976D8185a91A922aE77ECEc30",
        "0xbDA5747bFD65F08deb54cb465eB87D40e51B197E",
        "0xdD2FD4581271e230360230F9337D5c0430Bf44C0",
        "0x8626f6940E2eb28930eFb4CeF49B2d1F2C9C1199",
    )
)
"""Accounts 0 to 19 of the mnemonic that Anvil and Hardhat print at start: `test … test junk`."""


def check_chain_id(settings: Settings, answered: int, endpoint: str | None = None) -> None:
    """The node must serve the chain that is configured. `endpoint`: the name of its section."""
    if answered != settings.chain.chain_id and endpoint is not None:
        raise settings.error(
            "endpoints",
            endpoint,
            "url",
            what=f"this endpoint answers for chain {answered}, not {settings.chain.chain_id}",
            why="positions, prices and signatures belong to one chain",
            fix=f"point it to a node of chain {settings.chain.chain_id}, or take it away",
        )
    if answered != settings.chain.chain_id:
        raise settings.error(
            "chain",
            "id",
            what=f"the node answers for chain {answered}, not {settings.chain.chain_id}",
            why="positions, prices and signatures belong to one chain",
            fix=f"write id = {answered}, or point rpc_url to a node of chain "
            f"{settings.chain.chain_id}",
        )


def contracts(settings: Settings) -> Mapping[KeyPath, Address]:
    """Each configured address that must be a contract, by the path of its setting."""
    return {
        ("chain", "multicall"): settings.chain.multicall,
        **(
            {
                ("chain", key): address
                for key, address in (
                    ("quoter", settings.quoter),
                    ("sequencer_feed", settings.chain.sequencer_feed),
                )
                if address is not None
            }
            if any("pool" in p.sources for p in settings.positions)
            else {}
        ),
        **{
            ("positions", index, "guardian"): position.guardian
            for index, position in enumerate(settings.positions)
            if position.guardian is not None
        },
        **{
            ("markets", market.name, market.entry_key): market.entry
            for market in settings.markets.values()
        },
        **{
            ("market_prices", index, key): address
            for index, source in enumerate(settings.market_prices)
            for key, address in asdict(source).items()
        },
    }


def check_code(settings: Settings, path: KeyPath, code: bytes) -> None:
    """What `eth_getCode` answered for one of `contracts` must not be empty."""
    if not code:
        raise settings.error(
            *path,
            what=f"there is no contract at {contracts(settings)[tuple(path)]} on chain "
            f"{settings.chain.chain_id}",
            why="a call to an address without code succeeds and says nothing",
            fix=_guardian(settings, path)
            or "copy the address for this chain from the protocol's documentation",
        )


SEEN_FROM = {
    "multicall": ("Multicall3", Function("getBlockNumber()")),
    "quoter": ("QuoterV2 of Uniswap v3", Function("factory()")),
    "sequencer_feed": ("Chainlink feed", Function("latestRoundData()")),
    "feed": ("Chainlink feed", Function("latestRoundData()")),
    "market_feed": ("Chainlink feed", Function("latestRoundData()")),
    "pool": ("Uniswap v3 pool", Function("slot0()")),
    "base": ("token", Function("decimals()")),
    "guardian": ("guardian", Function("owner()")),
    "pool_addresses_provider": ("PoolAddressesProvider of Aave v3", AddressesProvider.GET_POOL),
    "clearing_house": ("ClearingHouse of Perp v2", ClearingHouse.GET_VAULT),
}
"""By key: what its contract has to be, and the function by which that is seen."""


def check_answer(settings: Settings, path: KeyPath, answer: bytes) -> None:
    """What the contract at `path` answered to its function of `SEEN_FROM`; empty if it reverted."""
    kind, function = SEEN_FROM[str(path[-1])]
    if len(answer) < WORD:
        raise settings.error(
            *path,
            what=f"the contract at {contracts(settings)[tuple(path)]} does not answer "
            f"{function.signature}: it is no {kind}",
            why="another contract, or another version of it, would be called in its place",
            fix=_guardian(settings, path)
            or f"copy the address of the {kind} for chain {settings.chain.chain_id} from its "
            "documentation",
        )
    if path[-1] == "guardian":
        _check_owner(settings, path, word_to_address(int.from_bytes(answer[:WORD], "big")))


def _guardian(settings: Settings, path: KeyPath) -> str | None:
    """How to come by the right one, where `path` is a guardian's."""
    if path[-1] != "guardian":
        return None
    account = settings.positions[int(path[1])].account
    return f"give the guardian of {account}, which `keeper mandate show` tells"


def _check_owner(settings: Settings, path: KeyPath, owner: Address) -> None:
    account = settings.positions[int(path[1])].account
    if owner != account:
        raise settings.error(
            *path,
            what=f"this guardian belongs to {owner}, not to the position's account {account}",
            why="a guardian acts for its owner alone",
            fix=f"{_guardian(settings, path)}, or correct `account`",
        )


def check_tokens(settings: Settings, derived: Mapping[Address, str]) -> None:
    """Where a token is meant, none of `derived` may stand, which says what each of them is."""
    for path, address in _tokens(settings):
        if address in derived:
            raise settings.error(
                *path,
                what=f"{address} is {derived[address]}",
                why="it stands for a deposit or a debt in the market, and has neither a price nor "
                "a pool of its own",
                fix="write the address of the token itself",
            )


def _tokens(settings: Settings) -> Iterator[tuple[KeyPath, Address]]:
    if settings.wrapped_native is not None:
        yield ("chain", "wrapped_native"), settings.wrapped_native
    for index, source in enumerate(settings.market_prices):
        if isinstance(source, PoolMarket):
            yield ("market_prices", index, "base"), source.base
    for name, each in settings.mandates.items():
        for key, tokens in (
            ("collaterals", each.collaterals),
            ("reserve_tokens", each.reserve_tokens),
            ("emergency_collateral", (each.mandate.emergency_collateral,)),
            ("emergency_debt", (each.mandate.emergency_debt,)),
        ):
            for token in tokens:
                yield ("mandates", name, key), token


def check_live(settings: Settings, *, local: bool, without_safety_net: bool) -> None:
    """Before anything is sent on a chain that is not local: it is one that keeper knows or whose
    addresses are written down, somebody hears of trouble, and a second endpoint sees what one
    hides. The last two may be done without, by name."""
    if local:
        return
    chain = settings.chain
    if network(chain.chain_id) is None and settings.wrapped_native is None:
        known = ", ".join(f"{each.name} ({each.chain_id})" for each in networks())
        raise settings.error(
            "chain",
            "id",
            what=f"chain {chain.chain_id} is not local, and not one that keeper knows",
            why="without its wrapped coin nobody can tell what gas costs, and a mistyped id would "
            "go unnoticed",
            fix=f"correct it (known are {known}), or write the chain's `wrapped_native`",
        )
    if without_safety_net:
        return
    override = ", or run with --without-safety-net"
    if not settings.service.alerts.heard:
        raise settings.error(
            "service",
            what="nobody would hear of an alert on a chain with real money",
            why="a keeper that is blind, out of gas or paused would say so to its log alone",
            fix=f"add [channels.phone] with KEEPER_CHANNELS__PHONE__APPRISE_URL, or set "
            f"KEEPER_WEBHOOK_URL{override}",
        )
    if len([each for each in chain.endpoints if each.use.reads]) < READERS:
        raise settings.error(
            "chain",
            "rpc_url",
            what="one endpoint alone reads a chain with real money",
            why="when it is down, behind or wrong, nothing is protected and nobody notices",
            fix=f"add [endpoints.second] with the url of another provider{override}",
        )


def check_signer(
    settings: Settings, position: PositionSettings, address: Address, *, local: bool
) -> None:
    """The signer must own the position, unless a guardian stands between, with a key that is not
    public knowledge.

    `local`: the node answers `anvil_nodeInfo`.
    """
    path = ("positions", settings.positions.index(position), "signer")
    if address in PUBLIC_ADDRESSES and not local:
        raise settings.error(
            *path,
            what=f'the key of "{position.signer}" ({address}) is one that Anvil and Hardhat print',
            why="everybody has it: whatever this account holds on a real chain is taken at once",
            fix="make a new key, move the position to it, and never fund this account",
        )
    if position.guardian is None and address != position.account:
        raise settings.error(
            *path,
            what=f'the key of "{position.signer}" belongs to {address}, not to the position\'s '
            f"account {position.account}",
            why="the reserve is the account's own wallet, and only its owner can spend from it",
            fix="give the key of the position's account, correct `account`, or name the `guardian` "
            "that acts for it",
        )
