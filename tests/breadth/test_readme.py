"""The example of breadth's own README runs, and prints what stands there."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_prints_what_the_readme_says() -> None:
    blocks = re.findall(r"```(python|text)\n(.*?)```", (ROOT / "breadth" / "README.md").read_text(), re.DOTALL)
    (_, code), (_, printed) = blocks
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout == printed
