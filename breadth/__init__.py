"""How a query runs: batch fields of a Strawberry schema. Knows nothing of users or sessions.

A batch field's resolver is given every parent of its level at once and returns one result for each, in order.
"""

from breadth.batching import BatchResolver, batch_field, computed_field
from breadth.execution import Answer, Executor, Request

__all__ = ["Answer", "BatchResolver", "Executor", "Request", "batch_field", "computed_field"]
