"""All lines, in the order of the table."""

from tests.faults import lines_breakers as lines_breakers
from tests.faults import lines_endpoints as lines_endpoints
from tests.faults import lines_errors as lines_errors
from tests.faults import lines_heads as lines_heads
from tests.faults import lines_kill as lines_kill
from tests.faults import lines_lies as lines_lies
from tests.faults import lines_oracle as lines_oracle
from tests.faults import lines_pool as lines_pool
from tests.faults import lines_process as lines_process
from tests.faults import lines_refusals as lines_refusals
from tests.faults import lines_sending as lines_sending
from tests.faults import lines_store as lines_store
from tests.faults.registry import LINES as LINES
