"""All lines, in the order of the table."""

from tests.faults import lines_kill as lines_kill
from tests.faults import lines_process as lines_process
from tests.faults import lines_sending as lines_sending
from tests.faults import lines_store as lines_store
from tests.faults.registry import LINES as LINES
