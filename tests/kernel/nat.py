"""A fourth machine: a phone behind a real NAT. Its router, which masquerades by iptables, is phone `a` of the wires."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.kernel.wires import Wires, ip
from tests.peers.program import require, unavailable

INSIDE, ROUTER = "192.168.5.2", "192.168.5.1"


class Nat(Wires):
    """Phone `a` is a router; behind it is phone `n`."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            unavailable("network namespaces need root")
        require("iptables")
        super().__init__()
        self.names["n"] = self.names["a"][:-1] + "n"
        ip("netns", "add", self.names["n"])
        router, phone = self.names["a"], self.names["n"]
        ip("link", "add", "lan", "netns", router, "type", "veth", "peer", "name", "wire", "netns", phone)
        for namespace, device, address in ((router, "lan", ROUTER), (phone, "wire", INSIDE)):
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", device)
            ip("-n", namespace, "link", "set", device, "up")
        ip("-n", phone, "route", "add", "default", "via", ROUTER)
        with self.inside("a"):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        self.map()

    def map(self) -> None:
        """Masquerade what comes from inside; mappings that there were are forgotten, as when a router restarts."""
        for command in ("-F POSTROUTING", "-A POSTROUTING -o wire -p udp -j MASQUERADE --random-fully"):
            words = ["ip", "netns", "exec", self.names["a"], "iptables", "-t", "nat", *command.split()]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                unavailable(f"no NAT: {done.stderr.strip()}")
