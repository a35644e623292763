"""RecallQL: the memory of AI applications, as one typed GraphQL API."""

import sys
from pathlib import Path

__version__ = "0.1.0"

# `models` and `schema` are names that others use too. An installed RecallQL carries its own in `_rooms`, and both there
# and in a checkout they must be found before a package of the same name in site-packages or in the current folder.
_here = Path(__file__).resolve().parent
_rooms = _here / "_rooms"
sys.path.insert(0, str(_rooms if _rooms.is_dir() else _here.parent))
