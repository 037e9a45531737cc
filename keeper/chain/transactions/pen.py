"""How bytes come to be signed: never without asking."""

from keeper.chain.fees import MOST_NO_OP_GAS, NO_OP_GAS, Fees
from keeper.chain.rpc import EndpointUnavailableError, JsonRpc, RpcError, quantity
from keeper.chain.signer import SignatureUnavailableError, Signer, UnsignedTransaction, signed
from keeper.chain.transactions.seams import BeforeSigning, SignatureRequest
from keeper.model.alerts import Alert, Notifier, Severity
from keeper.model.lifecycle import Purpose
from keeper.model.records import Attempt, Intent
from keeper.model.units import Address, Wei
from keeper.model.values import Head, Transaction

SILENT = "signer.silent"


class ObjectedError(Exception):
    """There is no signature: a breaker forbids it, or the signer gave none. Says why."""


class Pen:
    """Signs for one chain with the keys that are here."""

    def __init__(
        self,
        *,
        rpc: JsonRpc,
        chain_id: int,
        signers: dict[Address, Signer],
        before_signing: BeforeSigning,
        notifier: Notifier | None = None,
    ) -> None:
        self.signers = signers
        self._rpc = rpc
        self._chain_id = chain_id
        self._ask = before_signing
        self._notifier = notifier

    async def call(
        self,
        intent: Intent,
        *,
        gas_limit: int,
        fees: Fees,
        head: Head,
        l1_fee_wei: Wei,
        beside: tuple[Attempt, ...] = (),
        displaced: tuple[Attempt, ...] = (),
    ) -> Attempt:
        """The intent's own transaction, beside others of its plan, in the place of those of the
        intent whose slot it takes. Raises `ObjectedError`."""
        return await self._sign(
            intent,
            intent.transaction,
            Purpose.CALL,
            intent.nonce,
            gas_limit,
            fees,
            head,
            l1_fee_wei,
            beside,
            displaced,
        )

    async def no_op(
        self,
        intent: Intent,
        *,
        purpose: Purpose,
        nonce: int,
        fees: Fees,
        head: Head,
    ) -> Attempt:
        """A transaction of nothing from the signer to itself. Raises `ObjectedError`."""
        nothing = Transaction(to=intent.signer, data=b"", purpose=purpose.value)
        gas_limit = await self._no_op_gas(intent.signer)
        # It has fewer bytes than the call, and so costs less on L1.
        l1_fee_wei = intent.attempt.l1_fee_wei
        return await self._sign(intent, nothing, purpose, nonce, gas_limit, fees, head, l1_fee_wei)

    async def _sign(
        self,
        intent: Intent,
        transaction: Transaction,
        purpose: Purpose,
        nonce: int,
        gas_limit: int,
        fees: Fees,
        head: Head,
        l1_fee_wei: Wei,
        beside: tuple[Attempt, ...] = (),
        displaced: tuple[Attempt, ...] = (),
    ) -> Attempt:
        rivals = [each for each in (*intent.attempts, *displaced) if each.nonce == nonce]
        objection = await self._ask(
            SignatureRequest(
                chain_id=self._chain_id,
                signer=intent.signer,
                position=intent.position,
                transaction=transaction,
                replaces=bool(rivals),
                again=any(each.nonce == nonce for each in intent.attempts),
                replaced_wei=Wei(max((each.most_wei for each in rivals), default=0)),
                most_wei=Wei(gas_limit * fees.max_fee_wei + l1_fee_wei + transaction.value_wei),
                beside=beside,
            )
        )
        if objection is not None:
            raise ObjectedError(objection)
        unsigned = UnsignedTransaction(
            chain_id=self._chain_id,
            nonce=nonce,
            to=transaction.to,
            data=transaction.data,
            value_wei=transaction.value_wei,
            gas_limit=gas_limit,
            max_fee_wei=fees.max_fee_wei,
            priority_fee_wei=fees.priority_fee_wei,
        )
        raw, tx_hash = await self._signed(intent.signer, unsigned)
        return Attempt(
            purpose=purpose,
            nonce=nonce,
            hash=tx_hash,
            raw=raw,
            gas_limit=gas_limit,
            max_fee_wei=fees.max_fee_wei,
            priority_fee_wei=fees.priority_fee_wei,
            head_number=head.number,
            l1_fee_wei=l1_fee_wei,
        )

    async def _signed(self, signer: Address, unsigned: UnsignedTransaction) -> tuple[bytes, str]:
        try:
            found = await signed(self.signers[signer], unsigned)
        except SignatureUnavailableError as error:
            if self._notifier is not None:
                severity, text = Severity.CRITICAL, f"nothing can be sent: {error}"
                self._notifier.notify(
                    Alert(name=SILENT, subject=signer, severity=severity, text=text)
                )
            raise ObjectedError(str(error)) from error
        if self._notifier is not None:
            self._notifier.resolve(SILENT, signer)
        return found

    async def _no_op_gas(self, signer: Address) -> int:
        """On some rollups (Arbitrum) the gas of a transfer holds the cost of its bytes on L1."""
        try:
            told = await self._rpc.call("eth_estimateGas", {"from": signer, "to": signer})
        except (RpcError, EndpointUnavailableError):
            return NO_OP_GAS
        return min(max(quantity(told) or 0, NO_OP_GAS), MOST_NO_OP_GAS)
