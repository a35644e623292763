"""The load: `python -m benchmarks.client PORT FILE CONNECTIONS SECONDS [MOST]` sends bodies of FILE, prints a tally.

Each connection has one open request. With MOST it ends after that many requests. It runs in a process of its own,
which is not measured.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

# No successful answer contains these; in a string of an answer the quotes would be escaped.
FAULTS = (b'"errors"', b'"code"')


def request_of(line: bytes) -> bytes:
    head = f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(line)}"
    return head.encode() + b"\r\nAccept: application/json\r\n\r\n" + line


async def talk(port: int, requests: Iterator[bytes], end: float, waits: list[float], faults: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    for request in requests:
        start = time.perf_counter()
        if start > end:
            break
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await reader.readexactly(length)
        waits.append(time.perf_counter() - start)
        if b" 200 " not in head[:16] or any(fault in answer for fault in FAULTS):
            faults.append(answer[:300])
    writer.close()


async def main(port: int, lines: list[bytes], connections: int, seconds: float, most: int | None) -> None:
    requests = islice(cycle([request_of(line) for line in lines]), most)
    waits: list[float] = []
    faults: list[bytes] = []
    start = time.perf_counter()
    await asyncio.gather(*(talk(port, requests, start + seconds, waits, faults) for _ in range(connections)))
    took = time.perf_counter() - start
    waits.sort()
    tally = {
        "answers": len(waits),
        "faults": len(faults),
        "fault": faults[0].decode(errors="replace") if faults else None,
        "per_second": len(waits) / took,
        "p50_ms": waits[len(waits) // 2] * 1000,
        "p99_ms": waits[len(waits) * 99 // 100] * 1000,
    }
    print(json.dumps(tally))


if __name__ == "__main__":
    bodies = Path(sys.argv[2]).read_bytes().splitlines()
    most = int(sys.argv[5]) if len(sys.argv) > 5 else None
    asyncio.run(main(int(sys.argv[1]), bodies, int(sys.argv[3]), float(sys.argv[4]), most))
