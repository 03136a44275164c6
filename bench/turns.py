"""Two builds of the SBC do the same work in turns of a tenth of a second: what one costs as a share of the other.

Whatever else the machine does meanwhile meets both, so the ratio holds where the microseconds do not. Run it with
`python -m bench.turns BUILD [call|register|push] [--cold]`, BUILD a folder with another `sbc` (`build/compiled`, or
another checkout); this checkout is the measure. `--cold` empties the processor's caches before each unit, as the
pauses between two calls do on a server that is not busy.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 40
UNITS = {False: 100, True: 20}
TRASH = 64 << 20
"""Bytes read to empty the caches: twice what the largest of usual processors holds."""


def main() -> None:
    others = [word for word in sys.argv[1:] if Path(word).is_dir()]
    kinds = [word for word in sys.argv[1:] if word in ("call", "register", "push")] or ["call", "register", "push"]
    cold = "--cold" in sys.argv
    if len(others) != 1:
        raise SystemExit(__doc__)
    for kind in kinds:
        here, there = (_Side(build, kind, cold) for build in (ROOT, Path(others[0]).resolve()))
        pairs = [(here.turn(), there.turn()) for _ in range(ROUNDS)]
        ratio = statistics.median(other / own for own, other in pairs)
        own, other = (statistics.median(each) for each in zip(*pairs, strict=True))
        print(
            f"{kind}{' cold' if cold else ''}: {own:.0f} us here, {other:.0f} us there, ratio {ratio:.3f}", flush=True
        )
        here.end()
        there.end()


class _Side:
    """A process that works when it is told to."""

    def __init__(self, build: Path, kind: str, cold: bool) -> None:
        command = [sys.executable, "-P", __file__, "--work", kind, *(["--cold"] if cold else [])]
        path = os.pathsep.join(map(str, dict.fromkeys((build, ROOT))))
        self._process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def turn(self) -> float:
        """Microseconds of CPU for one unit, of this turn."""
        assert self._process.stdin and self._process.stdout
        print("go", file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate()


def work(kind: str, cold: bool) -> None:
    """One side: a turn for each line of input."""
    from bench.proxy import World
    from bench.registering import Phones

    unit = World().call if kind == "call" else Phones(kind == "push").register
    for _ in range(300):
        unit()
    gc.collect()
    gc.freeze()
    gc.disable()
    trash = bytearray(TRASH)
    for _ in sys.stdin:
        used = 0.0
        for _ in range(UNITS[cold]):
            if cold:
                trash.find(b"x")
            start = time.thread_time()
            unit()
            used += time.thread_time() - start
        print(used / UNITS[cold] * 1e6, flush=True)
        gc.collect()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], "--cold" in sys.argv)
    else:
        main()
