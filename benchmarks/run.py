"""One library, one case, in this process: ``python -m benchmarks.run PEER CASE [WARM SECONDS]``.

Prints one JSON line of measurements in seconds and bytes. Nothing is imported here that the library does not
need: the time of the whole process is measured too.
"""

from __future__ import annotations

import json
import sys

from benchmarks.cases import Case
from benchmarks.measure import MEASURES
from benchmarks.peers import PEERS


def run(peer: str, case: str, warm: float = 1.5, seconds: float = 0.5) -> dict[str, float]:
    parsed, train = Case.parse(case), PEERS[peer].train()
    return MEASURES[parsed.kind](train, parsed, warm, seconds)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 5) or sys.argv[1] not in PEERS:
        sys.exit(f"usage: python -m benchmarks.run PEER CASE [WARM SECONDS], PEER of {', '.join(PEERS)}")
    print(json.dumps(run(*sys.argv[1:3], *map(float, sys.argv[3:]))))
