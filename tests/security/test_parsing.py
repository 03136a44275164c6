"""Malformed and oversized messages: torture, mutations, regular expressions, numbers, limits, multipart."""

from __future__ import annotations

import importlib
import pkgutil
import random
import re
import time
from functools import partial
from pathlib import Path

import pytest
from twisted.internet.defer import inlineCallbacks

import sbc
from sbc.lab.world import BORDER
from sbc.media.bodies import find
from sbc.sip.errors import RemoteError
from sbc.transport import service
from sbc.transport import stream as stream_module
from tests.flow.scene import DOMAIN, pause, until
from tests.security.flood import loopback
from tests.security.hostile import ATTACKER, FULL, Hostile, messages, mutants, resident, settle

FOREIGN = 403
"""The answer to a request that is well formed and for a domain that is not ours: it is not relayed."""
UNANSWERED = None
UNFIT = {400, 413, 488, 513}

# What the running SBC says to each message (None: nothing); those not named are answered FOREIGN.
ANSWERS: dict[str, int | None] = {
    # RFC 4475: the section that says so stands beside each in tests/torture
    "badinv01.dat": 400, "clerr.dat": 400, "ncl.dat": 400, "scalar02.dat": 400, "quotbal.dat": 400,
    "ltgtruri.dat": 400, "lwsruri.dat": 400, "lwsstart.dat": 400, "escruri.dat": 400,
    "regbadct.dat": 400, "badaspec.dat": 400, "baddn.dat": 400, "badvers.dat": 505, "mismatch01.dat": 400,
    "mismatch02.dat": 501, "unkscm.dat": 416, "novelsc.dat": 416, "bext01.dat": 420, "zeromf.dat": 483,
    "multi01.dat": 400, "mcl01.dat": 400,
    "unksm2.dat": 400,  # 3.3.4: a registrar wants a SIP URI in To
    "ipv6-bad": 400,
    "trws.dat": 400, "insuf.dat": 400,
    # 3.4.1, "should be accepted" by who wants to: without a Contact nothing in its dialog would find its sender
    "inv2543.dat": 400,
    # No dialog of ours
    "wsinv.dat": 481, "mult-ip-in-header": 481, "via-received-param-with-delim": 481,
    # Registrations at domains that are not ours
    **dict.fromkeys(("dblreq.dat", "escnull.dat", "regaut01.dat", "cparam01.dat", "cparam02.dat", "regescrt.dat"), 404),
    **dict.fromkeys(("ipv6-good", "port-ambiguous", "port-unambiguous"), 404),
    # Responses to nothing of ours
    "unreason.dat": UNANSWERED, "noreason.dat": UNANSWERED, "scalarlg.dat": UNANSWERED, "bigcode.dat": UNANSWERED,
    "bcast.dat": UNANSWERED,
}  # fmt: skip


class Parsing(Hostile):
    @inlineCallbacks
    def test_01_every_torture_message_gets_the_outcome_of_the_rfcs(self):
        yield self.attacked()
        heard: dict[str, int | None] = {}
        for number, (name, data) in enumerate(messages().items()):
            self.later(100.0 * number)  # several of them have one branch: each is to be a transaction of its own
            raw = self.raw(ATTACKER)
            raw.say(data, self.world.sip)
            probe = self.raw(ATTACKER)
            address = f"{ATTACKER}:{probe.address[1]}"
            probe.say(
                self.request("OPTIONS", "", f"Via: SIP/2.0/UDP {address};branch=z9hG4bK{name};rport"), self.world.sip
            )
            yield until(lambda probe=probe: probe.statuses() == [200], "an answer to the question behind it")

            def final(raw=raw):
                return next((status for status in raw.statuses() if status >= 200), None)

            if ANSWERS.get(name, FOREIGN) is not UNANSWERED:
                yield until(final, f"an answer to {name}")
            yield pause(0.02)
            heard[name] = final()
        expected = {name: ANSWERS.get(name, FOREIGN) for name in heard}
        self.assertEqual({name: heard[name] for name in heard if heard[name] != expected[name]}, {})
        self.assertEqual([seen for seen in self.upper.seen if seen.method != "OPTIONS"], [])
        yield self.works()

    @inlineCallbacks
    def test_02_mutated_requests_raise_nothing_take_no_time_and_leave_nothing(self):
        count = 100_000 if FULL else 2_000
        yield self.attacked(log='level = "error"')
        phone = yield self.awake("carol")
        registers = [seen.request.render() for seen in self.upper.saw("REGISTER")]
        seeds = [*messages().values(), *registers]
        [port] = self.sbc.transports._udp.values()
        chance = random.Random(4475)
        flow = port.flow(ATTACKER, 9)
        slowest, before = 0.0, 0
        for number, data in enumerate(mutants(seeds, count, chance)):
            begun = time.thread_time()
            port._take(data, flow)
            taken = time.thread_time() - begun
            for _ in range(3):
                if taken > 0.02:  # the collector may have run: once more, for the message alone
                    settle()
                    begun = time.thread_time()
                    port._take(data, flow)
                    taken = min(taken, time.thread_time() - begun)
            slowest = max(slowest, taken)
            if number % 500 == 499:
                yield pause(0)
            if number % 10_000 == min(9_999, count // 4):
                self.later(100.0 * (1 + number))
                settle()
                before = before or resident()
        self.assertLess(slowest, 0.02)
        yield pause(0.5)
        self.later(100.0 * (count + 1))
        settle()
        grown = resident() - before
        print(f"{count} mutants, slowest {slowest * 1000:.1f} ms, grown {grown / 1e6:.1f} MB")
        self.assertLess(grown, 40_000_000)
        self.assertEqual(len(self.sbc.calls.open), 0)
        self.assertEqual(self.refused("bug"), 0)
        self.assertTrue(phone.awake)

    @pytest.mark.timeout(900)  # six seconds of an idle processor
    def test_03_every_regular_expression_is_linear(self):
        used = list(expressions())
        self.assertGreater(len(used), 20)
        units = [bytes([byte]) for byte in (range(256) if FULL else b"\0\t\r\n \"%&'(*,-./09:;<=>?@AZ[\\]_az{|}~\xff")]
        units += [b"\r\n ", b"a,", b'a"', b"a;", b"<a", b"a=", b"a.", b"1.", b"::", b"%4", b"a b"]
        slow = []
        for name, pattern, work in used:
            for unit in units:
                data: bytes | str = unit * (65_536 // len(unit))
                if isinstance(pattern.pattern, str):
                    data = data.decode("latin-1")
                taken = cpu(work, data)
                if taken > 0.3:  # a few milliseconds on an idle machine; ten seconds where the time is square
                    taken = min(taken, cpu(work, data), cpu(work, data))
                if taken > 0.3:
                    slow.append((name, unit, round(taken, 3)))
        self.assertEqual(slow, [])

    @inlineCallbacks
    def test_04_a_blank_before_the_colon_hides_no_header(self):
        yield self.attacked()
        secrets = [
            (b"X-PIID ", b"ab" * 16),
            (b"x-mpush\t", b"i:com.example.phone:" + b"cd" * 32),
            (b"X-PIID", b"ef" * 16),
            (b"X-Sy.Uppersrvd ", b"sy-secret.example"),
            (b"x-sy.authuri \t", b"sip:sy-secret.example"),
        ]
        phone = self.phone(sends_ha1=False, provider="", headers=secrets)
        yield phone.start()
        registers = self.upper.saw("REGISTER")
        self.assertTrue(registers)
        for seen in registers:
            sent = seen.request.render().lower()
            self.assertNotIn(b"x-piid", sent)
            self.assertNotIn(b"x-mpush", sent)
            self.assertNotIn(b"cdcd", sent)
            self.assertNotIn(b"x-sy", sent)

    @inlineCallbacks
    def test_04_nor_does_it_carry_one_past_the_rules_for_headers(self):
        yield self.attacked(proxy='strip_headers = ["X-Inside", "Subject"]')
        phone = yield self.awake()
        hidden = [(b"X-Inside ", b"one"), (b"x-INSIDE\t", b"two"), (b"S ", b"three"), (b"subject \t", b"four")]
        status = yield self.final(self.upper.place_call("bob", headers=[*hidden, (b"X-Outside ", b"five")]))
        self.assertEqual(status, 200)
        [seen] = phone.saw("INVITE")
        arrived = seen.request.render().lower()
        for word in (b"x-inside", b"one\r\n", b"two\r\n", b"three\r\n", b"four\r\n"):
            self.assertNotIn(word, arrived)
        self.assertIn(b"five\r\n", arrived)

    @inlineCallbacks
    def test_04_a_name_that_is_folded_before_its_colon_is_no_header(self):
        yield self.attacked()
        for folded in (b"X-PIID\r\n : 1", b"X-PIID\r\n\t: 1", b" X-PIID: 1\r\n : 2", b"X-PIID", b": 1"):
            raw = self.raw(ATTACKER)
            raw.say(
                self.request("REGISTER", f"sip:{DOMAIN}").replace(b"\r\n\r\n", b"\r\n" + folded + b"\r\n\r\n"),
                self.world.sip,
            )
        raw = self.raw(ATTACKER)
        raw.say(self.request(), self.world.sip)
        yield until(lambda: raw.statuses() == [200], "an answer to the question behind them")
        self.assertNotIn(b"x-piid", b"".join(seen.request.render().lower() for seen in self.upper.seen))

    @inlineCallbacks
    def test_05_numbers_out_of_range_are_answered_400_and_end_a_stream_where_they_are_its_borders(self):
        self.patch(stream_module, "DRAIN_SECONDS", 0.1)
        self.patch(service, "SWEEP_SECONDS", 0.1)
        yield self.attacked()
        for cseq in ("2147483648 OPTIONS", "-1 OPTIONS", "x OPTIONS", "99999999999999999999 OPTIONS", "1"):
            raw = self.raw(ATTACKER)
            raw.say(self.request("OPTIONS", "", f"CSeq: {cseq}"), self.world.sip)
            yield until(lambda raw=raw: raw.statuses() == [400], f"400 for {cseq}")
        for lines, status in (
            (("Content-Length: -5",), b"400"), (("Content-Length: 0", "l: 0"), b"400"),
            (("Content-Length: 0", "Content-Length: 5"), b"400"), (("Content-Length: 999999999",), b"513"),
            (("Content-Length: 99999999999999999999",), b"400"),
        ):  # fmt: skip
            raw = self.raw(ATTACKER)
            raw.say(self.request("OPTIONS", "", *lines), self.world.sip)
            yield until(lambda raw=raw: raw.statuses() == [400], f"400 for {lines}")
            stream = yield self.stream()
            stream.transport.write(self.request("OPTIONS", "", *lines) + self.request())
            yield until(lambda stream=stream: stream.closed, f"the end of the stream after {lines}")
            self.assertEqual((stream.heard[8:11], stream.heard.count(b"SIP/2.0 ")), (status, 1), lines)
        stream = yield self.stream()
        stream.transport.write(self.request().replace(b"content-length: 0\r\n", b""))
        yield until(lambda: stream.closed, "a stream without Content-Length ends")
        self.assertEqual(stream.heard, b"")
        yield self.works()

    @inlineCallbacks
    def test_06_as_much_as_is_allowed_is_served(self):
        yield self.attacked()
        usual = self.request("OPTIONS", "").count(b"\r\n") - 2
        vias = ", ".join(f"SIP/2.0/UDP h{number};branch=z9hG4bK{number}" for number in range(69))
        for name, data in (
            ("headers", self.request("OPTIONS", "", *["X-A: y"] * (200 - usual))),
            ("a header line", self.request("OPTIONS", "", "X-A: " + "y" * 8_187)),
            ("Vias", self.request("OPTIONS", "", f"Via: SIP/2.0/UDP {ATTACKER};rport;branch=z9hG4bK0, {vias}")),
            ("a body", self.request("OPTIONS", "", body=b"x" * 64_000)),
        ):
            raw = self.raw(ATTACKER)
            raw.say(data, self.world.sip)
            yield until(lambda raw=raw: raw.statuses() == [200], f"an answer to as many {name} as there may be")

    @inlineCallbacks
    def test_06_what_never_ends_is_not_kept(self):
        """Headers without an end, and a body without one: the stream is cut at the cap."""
        self.patch(stream_module, "DRAIN_SECONDS", 0.1)
        self.patch(service, "SWEEP_SECONDS", 0.1)
        yield self.attacked()
        for begun, piece in (
            (b"OPTIONS sip:h SIP/2.0\r\n", b"X-A: " + b"y" * 8_000 + b"\r\n"),
            (b"OPTIONS sip:h SIP/2.0\r\nX: ", b"y" * 8_000),
            (b"OPTIONS sip:" + b"h" * 8_000, b"h" * 8_000),
            (self.request("OPTIONS", "", "Content-Length: 99999999"), b"x" * 8_000),
        ):
            stream = yield self.stream()
            stream.transport.write(begun)
            before, said = resident(), 0
            while not stream.closed:
                stream.transport.write(piece)
                said += len(piece)
                self.assertLess(said, 200_000_000)
                yield pause(0.001)
            self.assertLess(resident() - before, 40_000_000, begun[:60])
        yield self.works()

    @inlineCallbacks
    def test_06_too_much_of_anything_is_refused(self):
        yield self.attacked()
        uri = f"sip:bob@{DOMAIN}"
        vias = ", ".join(f"SIP/2.0/UDP h{number};branch=z9hG4bK{number}" for number in range(71))
        sdp = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
        medium = b"m=audio 4000 RTP/AVP 0\r\n"
        described = ("Content-Type: application/sdp", "Contact: <sip:x@127.0.0.9>")
        for name, data, allowed in (
            ("headers", self.request("OPTIONS", "", *["X-A: y"] * 201), {400, 513, UNANSWERED}),
            ("a header line", self.request("OPTIONS", "", "X-A: " + "y" * 8_200), {513}),
            ("a Request-URI", self.request("OPTIONS", "sip:" + "y" * 9_000), {UNANSWERED, 414}),
            (
                "Vias",
                self.request("OPTIONS", "", f"Via: SIP/2.0/UDP {ATTACKER};rport;branch=z9hG4bK0, {vias}"),
                {400, 513},
            ),
            ("Routes", self.request("OPTIONS", "", "Route: " + ",".join(["<sip:a;lr>"] * 51)), {400, 513}),
            (
                "Contacts",
                self.request("REGISTER", f"sip:{DOMAIN}", "Contact: " + ",".join(["<sip:a>"] * 51)),
                {400, 513},
            ),
            ("media", self.request("INVITE", uri, *described, body=sdp + medium * 17), UNFIT),
            ("attributes", self.request("INVITE", uri, *described, body=sdp + medium + b"a=x\r\n" * 513), UNFIT),
        ):
            raw = self.raw(ATTACKER)
            raw.say(data, self.world.sip)
            probe = self.raw(ATTACKER)
            probe.say(self.request(), self.world.sip)
            yield until(lambda probe=probe: probe.statuses() == [200], "an answer to the question behind it")
            if allowed != {UNANSWERED} and UNANSWERED not in allowed:
                yield until(lambda raw=raw: [s for s in raw.statuses() if s >= 200], f"an answer to too many {name}")
            final = [status for status in raw.statuses() if status >= 200]
            self.assertIn(final[0] if final else UNANSWERED, allowed, name)
        stream = yield self.stream()
        stream.transport.write(self.request("MESSAGE", uri, body=b"x" * 65_537))
        yield until(lambda: stream.heard.startswith(b"SIP/2.0 513 "), "513 for a body over 64 KiB")
        self.assertEqual([seen for seen in self.upper.seen if seen.method in ("INVITE", "MESSAGE")], [])
        yield self.works()

    def test_07_a_multipart_without_end_ends(self):
        kind = b"multipart/mixed;boundary=b"
        nested = b"".join(
            b"--b%d\r\nContent-Type: multipart/mixed;boundary=b%d\r\n\r\n" % (n, n + 1) for n in range(50)
        )
        for body, content_type in (
            (b"--b\r\nContent-Type: text/plain\r\n\r\nnever closed", kind),
            (b"--b\r\n" * 10_000, kind), (b"--b" * 20_000, kind), (b"--b--\r\n--b--", kind), (b"", kind),
            (b"\r\n--b\r\n" + b"X: y\r\n" * 9_000, kind), (nested, b"multipart/mixed;boundary=b0"),
            (b"-" * 65_000, kind), (b"--b\r\n\r\n" + b"--b\r\n--" * 7_000, kind),
            (b"x" * 65_000, b"multipart/mixed;boundary=" + b"b" * 60_000), (b"x", b"multipart/mixed;boundary"),
        ):  # fmt: skip
            begun = time.thread_time()
            try:
                find(body, content_type)
            except RemoteError:
                pass
            self.assertLess(time.thread_time() - begun, 0.05, (body[:40], content_type[:60]))

    @inlineCallbacks
    def test_10_a_datagram_of_any_length_is_whole_or_refused(self):
        yield self.attacked()
        for size in (8_191, 8_193, 20_000, 64_900):
            raw = self.raw(ATTACKER)
            data = self.request("OPTIONS", "", body=b"")
            data = self.request("OPTIONS", "", body=b"x" * (size - len(data) - 4))
            raw.say(data, self.world.sip)
            yield until(lambda raw=raw: raw.statuses() == [200], f"an answer to {len(data)} bytes")
        oversized = loopback(ATTACKER)
        self.addCleanup(oversized.close)
        oversized.sendto(self.request("OPTIONS", "", body=b"x" * 65_507)[:65_507], (BORDER, self.world.sip))
        yield until(lambda: self.refused("oversized") == 1, "a datagram over 65,000 bytes is refused")


def expressions():
    """Every regular expression of the product with each operation that its module uses it for."""
    for module in pkgutil.walk_packages(sbc.__path__, "sbc."):
        if ".migrations" in module.name or module.name.startswith("sbc.lab"):
            continue
        loaded = importlib.import_module(module.name)
        source = Path(loaded.__file__).read_text()
        for name, pattern in vars(loaded).items():
            if isinstance(pattern, re.Pattern):
                for operation in sorted(set(re.findall(rf"\b{name}\.(\w+)", source)) & set(OPERATIONS)):
                    yield f"{module.name}.{name}.{operation}", pattern, partial(OPERATIONS[operation], pattern)


OPERATIONS = {
    "match": re.Pattern.match,
    "fullmatch": re.Pattern.fullmatch,
    "search": re.Pattern.search,
    "findall": re.Pattern.findall,
    "finditer": lambda pattern, data: list(pattern.finditer(data)),
    "split": re.Pattern.split,
    "sub": lambda pattern, data: pattern.sub(data[:0], data),
}


def cpu(work, data):
    """CPU seconds of one run."""
    begun = time.thread_time()
    work(data)
    return time.thread_time() - begun


def test_the_table_names_messages_that_exist():
    assert set(ANSWERS) <= set(messages())
