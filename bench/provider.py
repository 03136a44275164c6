"""The push provider of the measurements: the laboratory's APNs in a process of its own: its CPU is not counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.peers.lab_process import Lab


class Provider:
    """Every device token is good."""

    def __init__(self, folder: Path) -> None:
        self._lab = Lab(folder)

    def sections(self) -> dict[str, Any]:
        """The SBC's configuration: push on and unlimited (one caller calls all), a UDP phone asleep as soon as it is
        silent (one socket is all phones)."""
        sections = self._lab.sections()
        unlimited = {"device_limit": 0, "caller_limit": 0}
        return {**sections, "push": {**sections.get("push", {}), **unlimited}, "registrar": {"udp_awake": "0s"}}

    def arrivals(self) -> list[tuple[str, float]]:
        """(device token, time.time() of arrival) of each push, at most the last 20,000."""
        return [(token, at) for token, at in self._lab.ask("arrivals")]

    def stop(self) -> None:
        self._lab.stop()
