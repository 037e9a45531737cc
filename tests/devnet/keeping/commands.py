"""Commands of an owner on a local chain, and what came of them."""

import json

from tests.devnet.keeping.ground import Ground
from tests.devnet.keeping.process import Keeper


class Commands:
    """Their transactions are mined at once; `prefix` comes before each command's own words."""

    def __init__(self, ground: Ground, *prefix: str) -> None:
        self.ground = ground
        self.chain = ground.chain
        self._prefix = prefix

    async def run(self, *arguments: str) -> Keeper:
        return await self._ask(*self._prefix, *arguments)

    async def done(self, *arguments: str) -> str:
        said = await self.run(*arguments)
        assert said.exit_code == 0, said.log(said.output)
        return said.output

    async def refused(self, *arguments: str) -> str:
        said = await self.run(*arguments)
        assert said.exit_code == 78, said.log(said.output)
        assert "Traceback" not in said.text
        return said.text

    async def verdicts(self) -> list[str]:
        """What `keeper mandate verify` finds."""
        said = await self._ask("mandate", "verify", "--json")
        return [f"{one['verdict']}: {one['what']}" for one in json.loads(said.output)["findings"]]

    async def _ask(self, *arguments: str) -> Keeper:
        self.chain.rpc.call("evm_setAutomine", True)
        try:
            return await self.ground.ask(*arguments)
        finally:
            self.chain.rpc.call("evm_setAutomine", False)
