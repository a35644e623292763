"""Runs `make bench`: the kit in ../shared/bench, with its peers, if it exists, else `benchmarks.compare`.

Both take the same options. Each runs twice: all workloads with the usual settings, then durable writes.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KIT = ROOT.parent / "shared" / "bench" / "bench.py"
SERVE = ".venv/bin/recallql serve --host 127.0.0.1 --port {port} --database-url {database_url}"


def main(options: list[str]) -> int:
    program = [sys.executable, str(KIT)] if KIT.exists() else [sys.executable, "-m", "benchmarks.compare"]
    print(f"{'The kit' if KIT.exists() else 'The comparison of this folder'}, synchronous = NORMAL", flush=True)
    usual = subprocess.run([*program, "--recallql", f"{SERVE} --synchronous normal", *options], cwd=ROOT, check=False)
    print("\nDurable: W4 with an fsync before each answer, synchronous = FULL", flush=True)
    durable = ["--recallql", SERVE, *options, "--durable", "--workloads", "W4", "--reuse"]
    return max(usual.returncode, subprocess.run([*program, *durable], cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
