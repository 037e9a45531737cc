"""The ground of a daemon on the local chain."""

from tests.devnet.keeping.fixtures import ground as ground
