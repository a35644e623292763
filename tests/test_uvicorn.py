"""The parts of uvicorn that `recallql/http/framing.py` builds on are private, and may change with any version."""

import inspect
from hashlib import sha256
from types import ModuleType

import pytest
from uvicorn.protocols.http import flow_control, httptools_impl

READ = {
    flow_control: "d39d16560df512f3ce907c329c2a0c3f5cd7165fef3b753876eae5739bf2a785",
    httptools_impl: "1d4e1c579df4168433a61a01f10c628b31c1790e72dd9769d2b8633b22214033",
}
"""The SHA-256 of the sources that were read when the protocol was written."""


@pytest.mark.parametrize("module", READ, ids=lambda module: module.__name__)
def test_the_protocol_was_written_for_this_version_of_uvicorn(module: ModuleType) -> None:
    found = sha256(inspect.getsource(module).encode()).hexdigest()
    assert found == READ[module], (
        f"{module.__name__} has changed. Read what is new there against recallql/http/framing.py and "
        "recallql/http/protocol.py, run the tests of HTTP, and put the new digest here."
    )
