"""Three machines on two wires: a phone each on the sides, the relay in the middle, as network namespaces."""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers.program import PATIENCE, require, unavailable, until

_libc = ctypes.CDLL(None, use_errno=True)
_NEW_NETWORK = 0x40000000
_ETHTOOL, _SET_TX_CHECKSUM = 0x8946, 0x17
_numbers = itertools.count()

#: Addresses by machine and family: of the phones, and of the relay toward each of them.
PHONE = {"a": {4: "10.71.1.2", 6: "fd71:1::2"}, "b": {4: "10.71.2.2", 6: "fd71:2::2"}}
RELAY = {"a": {4: "10.71.1.1", 6: "fd71:1::1"}, "b": {4: "10.71.2.1", 6: "fd71:2::1"}}

Address = tuple[str, int]


class Wires:
    """The namespaces. Inside the relay's, interface `wa` leads to phone `a`, `wb` to phone `b`."""

    def __init__(self) -> None:
        require("ip")
        prefix = f"sbck{os.getpid()}-{next(_numbers)}"
        self.names = {each: f"{prefix}{each}" for each in ("a", "r", "b")}
        try:
            for each in self.names.values():
                ip("netns", "add", each)
        except subprocess.CalledProcessError as problem:
            self.close()
            unavailable(f"no network namespaces: {problem.stderr.strip()}")
        for side in ("a", "b"):
            self.connect(side)
        # What the kernel forwards for the relay needs none of this, and is not stopped by it.
        with self.inside("r"):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
            Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("1")

    def connect(self, side: str) -> None:
        """Plug in the wire between the relay and this phone."""
        phone, relay = self.names[side], self.names["r"]
        near, far = f"w{side}", "wire"
        ip("link", "add", far, "netns", phone, "type", "veth", "peer", "name", near, "netns", relay)
        for namespace, device, addresses in ((phone, far, PHONE[side]), (relay, near, RELAY[side])):
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("-n", namespace, "addr", "add", f"{addresses[4]}/24", "dev", device)
            ip("-n", namespace, "addr", "add", f"{addresses[6]}/64", "dev", device, "nodad")
            ip("-n", namespace, "link", "set", device, "up")
        for machine, device in ((side, far), ("r", near)):
            with self.inside(machine):
                sum_up(device)
        until(lambda: "state UP" in ip("-n", relay, "link", "show", near), "the wire has no signal", step=0.01)
        ip("-n", phone, "route", "add", "default", "via", RELAY[side][4])
        ip("-n", phone, "route", "add", "default", "via", RELAY[side][6])

    def cut(self, side: str) -> None:
        """The wire's interfaces vanish."""
        ip("-n", self.names["r"], "link", "del", f"w{side}")

    @contextmanager
    def inside(self, machine: str) -> Iterator[None]:
        """What is opened meanwhile by this thread belongs to this machine."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            enter(self.names[machine])
            yield
        finally:
            assert _libc.setns(before, _NEW_NETWORK) == 0
            os.close(before)

    def socket(self, machine: str, host: str, port: int = 0) -> socket.socket:
        """A UDP socket on this machine."""
        with self.inside(machine):
            opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((host, port))
        opened.settimeout(PATIENCE)
        return opened

    def close(self) -> None:
        for each in self.names.values():
            subprocess.run(["ip", "netns", "del", each], capture_output=True, check=False)


def enter(namespace: str) -> None:
    """This thread is on that machine from now on."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if _libc.setns(descriptor, _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


def sum_up(device: str) -> None:
    """Have checksums computed, and so verified at the other end, where a virtual wire would leave them out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        value = ctypes.create_string_buffer(struct.pack("=II", _SET_TX_CHECKSUM, 0))
        request = struct.pack("16sP", device.encode(), ctypes.addressof(value)) + bytes(24)
        fcntl.ioctl(any_socket, _ETHTOOL, request)


def ip(*words: str) -> str:
    """Run iproute2."""
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True, env=environment)
    return done.stdout


def counters(wires: Wires, machine: str) -> dict[str, int]:
    """The UDP counters of a machine (`/proc/net/snmp` and `snmp6`): what its kernel thinks of what arrived."""
    with wires.inside(machine):
        four = Path("/proc/thread-self/net/snmp").read_text().splitlines()
        six = Path("/proc/thread-self/net/snmp6").read_text().splitlines()
    names, values = (line.split()[1:] for line in four if line.startswith("Udp:"))
    found = {name: int(value) for name, value in zip(names, values, strict=True)}
    found.update((line.split()[0], int(line.split()[1])) for line in six if line.startswith("Udp6"))
    return found
