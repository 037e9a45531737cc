from tests.devnet.keeping.fixtures import ground as ground
