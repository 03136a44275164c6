"""What a running SBC does with those messages of RFC 4475 and RFC 5118 that are for its own users.

They come as they stand in the RFCs, from the upper server and from a phone's network; the users and the domain are
those that the messages name. What becomes of all of them at an SBC that knows nobody: `tests.security.test_parsing`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import inlineCallbacks

from sbc.lab.world import UPPER
from sbc.sip import parse
from sbc.transport import service, stream
from tests.flow.scene import DOMAIN, until
from tests.security.hostile import ATTACKER, SECURITY, Hostile

HERE = Path(__file__).parent
USERS = dict.fromkeys(("user", "j.user", "watson", "null-%00-null", "kumiko", "sips:user@example.com"), "secret")


def data(name: str) -> bytes:
    return (HERE / name).read_bytes()


def with_line(message: bytes, name: bytes, value: bytes | None) -> bytes:
    """The message with another value in that header, or with None without it."""
    request = parse(message)
    if value is None:
        request.remove(name)
    else:
        request.set(name, value)
    return request.render()


class Home(Hostile):
    """An SBC at whose domain the messages are."""

    domain = "example.com"

    @inlineCallbacks
    def at_home(self, *, challenge: bool = False, **more: Any) -> Any:
        """The upper server is that of the messages' domain, and asks nobody for a password."""
        yield self.begin(
            users=USERS, changes={f'domain = "{DOMAIN}"': f'domain = "{self.domain}"'}, **{**SECURITY, **more}
        )
        self.upper.domain = self.upper.rules.realm = self.domain
        self.upper.rules.challenge = challenge
        self.passed = 0

    def told(self, message: bytes, host: str) -> Any:
        """A socket that has sent this, after all transactions before it."""
        self.passed += 100
        self.later(self.passed)
        raw = self.raw(host)
        raw.say(message, self.world.sip)
        return raw

    @inlineCallbacks
    def answer(self, message: bytes, host: str = UPPER) -> Any:
        """The final response."""
        raw = self.told(message, host)
        yield until(lambda: any(status >= 200 for status in raw.statuses()), "an answer")
        return next(response for response in raw.heard if response.status >= 200)

    @inlineCallbacks
    def arrives(self, phone: Any, name: str, method: str) -> Any:
        """The one request that a message becomes at the phone, and the SBC's answer to it."""
        before = len(phone.saw(method))
        response = yield self.answer(data(name))
        self.assertEqual(response.status, 200, name)
        [seen] = phone.saw(method)[before:]
        return seen.request, response


class Running(Home):
    @inlineCallbacks
    def test_requests_for_a_user_arrive(self):
        yield self.at_home()
        phone = yield self.awake("user")
        for name in ("lwsdisp", "transports", "badbranch"):  # 3.1.1.6, 3.1.1.10, 3.2.1
            sent = parse(data(f"rfc4475/{name}.dat"))
            request, response = yield self.arrives(phone, f"rfc4475/{name}.dat", "OPTIONS")
            self.assertEqual(request.first(b"from"), sent.first(b"from"), name)
            self.assertEqual([via.host for via in response.vias], [via.host for via in sent.vias], name)
        for name in ("ipv6-bug-abnf-3-colons", "ipv6-correct-abnf-2-colons"):  # RFC 5118 4.10
            yield self.arrives(phone, f"rfc5118/{name}", "OPTIONS")

    @inlineCallbacks
    def test_calls_for_a_user_arrive_with_what_concerns_only_her(self):
        yield self.at_home(media='engine = "inline"')
        phone = yield self.awake("user")
        for name, kept in (
            ("rfc4475/longreq.dat", b"call-id"),  # 3.1.1.7
            ("rfc4475/baddate.dat", b"date"),  # 3.1.2.12
            ("rfc4475/invut.dat", b"content-type"),  # 3.3.6
            ("rfc4475/sdp01.dat", b"accept"),  # 3.3.15
            ("rfc5118/ipv6-in-sdp", b"content-type"),  # 4.6
            ("rfc5118/mult-ip-in-sdp", b"content-type"),  # 4.8
            ("rfc5118/ipv4-mapped-ipv6", b"content-type"),  # 4.9
        ):
            sent = parse(data(name))
            request, _ = yield self.arrives(phone, name, "INVITE")
            self.assertEqual(request.first(kept), sent.first(kept), name)
            self.assertEqual(request.to.uri, sent.to.uri, name)
            if name == "rfc4475/invut.dat":
                self.assertEqual(request.body, sent.body)
            else:
                self.assertEqual(request.body.count(b"m="), sent.body.count(b"m="), name)

    @inlineCallbacks
    def test_requests_for_nobody(self):
        """Who is unknown is not found, and neither a name nor a method with % in it is another's (3.1.1.2, 3.1.1.5,
        3.1.1.9)."""
        yield self.at_home()
        yield self.awake("user")
        for name in ("intmeth", "esc02", "semiuri"):
            response = yield self.answer(data(f"rfc4475/{name}.dat"))
            self.assertEqual(response.status, 404, name)
        self.assertEqual(self.rows("select id from bindings where contact like '%alias%'"), [])

    @inlineCallbacks
    def test_nothing_is_forwarded_that_a_proxy_must_answer(self):
        yield self.at_home()
        phone = yield self.awake("user")
        response = yield self.answer(data("rfc4475/bext01.dat"))  # 3.3.5, as a proxy
        self.assertEqual(response.status, 420)
        self.assertEqual(response.each(b"unsupported"), [b"noProxiesSupportThis", b"norDoAnyProxiesSupportThis"])
        response = yield self.answer(data("rfc4475/zeromf.dat"))  # 3.3.11, as a proxy
        self.assertEqual(response.status, 483)
        self.assertEqual(phone.saw("OPTIONS"), [])

    @inlineCallbacks
    def test_as_the_endpoint_it_answers_by_other_rules(self):
        yield self.at_home()
        here = f"OPTIONS sip:127.0.0.1:{self.world.sip} SIP/2.0\r\n".encode()
        for name, status, unsupported in (
            ("bext01", 420, [b"nothingSupportsThis", b"nothingSupportsThisEither"]),  # 3.3.5
            ("zeromf", 200, []),  # 3.3.11
        ):
            message = with_line(data(f"rfc4475/{name}.dat"), b"proxy-require", None)
            response = yield self.answer(here + message.partition(b"\r\n")[2], ATTACKER)
            self.assertEqual((response.status, response.each(b"unsupported")), (status, unsupported), name)

    @inlineCallbacks
    def test_registrations(self):
        yield self.at_home()
        for name, bound in (
            ("cparam01", b"sip:+19725552222@gw1.example.net"),  # 3.3.12: none of the URI's
            ("cparam02", b"sip:+19725552222@gw1.example.net;unknownparam"),  # 3.3.13
            ("regescrt", b"sip:user@example.com?Route=%3Csip:sip.example.com%3E"),  # 3.3.14
            ("dblreq", b"sip:j.user@host.example.com"),  # 3.1.1.8
        ):
            message = data(f"rfc4475/{name}.dat")
            response = yield self.answer(message, ATTACKER)
            self.assertEqual((response.status, [each.uri.render() for each in response.contacts]), (200, [bound]), name)
            asking = with_line(with_line(message, b"contact", None), b"cseq", b"99999999 REGISTER")
            response = yield self.answer(asking, ATTACKER)
            self.assertEqual((response.status, [each.uri.render() for each in response.contacts]), (200, [bound]), name)
            self.assertGreater(int(response.contacts[0].params[b"expires"]), 0)
            yield self.answer(with_line(with_line(message, b"expires", b"0"), b"cseq", b"100000000 REGISTER"), ATTACKER)
        self.assertEqual({seen.method for seen in self.upper.seen} - {"OPTIONS"}, {"REGISTER"}, "no INVITE of dblreq")

    @inlineCallbacks
    def test_a_name_with_a_zero_byte_is_registered_whole(self):
        yield self.at_home()
        response = yield self.answer(data("rfc4475/escnull.dat"), ATTACKER)  # 3.1.1.4
        self.assertEqual(response.status, 200)
        self.assertEqual([row["username"] for row in self.rows("select username from users")], ["null-%00-null"])
        [seen] = self.upper.saw("REGISTER")
        self.assertEqual(seen.request.to.uri.user, b"null-%00-null")

    @inlineCallbacks
    def test_registrations_at_ipv6_references(self):
        for name in ("ipv6-good", "port-ambiguous", "port-unambiguous"):  # RFC 5118 4.1, 4.3, 4.4
            yield self.at_home()
            response = yield self.answer(data(f"rfc5118/{name}"), ATTACKER)
            self.assertEqual(response.status, 200, name)
            self.assertEqual(response.contacts[0].uri.render(), b"sip:caller@[2001:db8::1]")
            yield self._end()

    @inlineCallbacks
    def test_an_unknown_authorization_goes_up_as_it_is_and_is_challenged(self):
        yield self.at_home(challenge=True)
        response = yield self.answer(data("rfc4475/regaut01.dat"), ATTACKER)  # 3.3.7
        self.assertEqual(response.status, 401)
        self.assertTrue(response.has(b"www-authenticate"))
        [seen] = self.upper.saw("REGISTER")
        self.assertEqual(seen.request.lines(b"authorization"), [b"NoOneKnowsThisScheme opaque-data=here"])

    @inlineCallbacks
    def test_a_registrar_wants_a_sip_uri(self):
        yield self.at_home()
        response = yield self.answer(data("rfc4475/unksm2.dat"), ATTACKER)  # 3.3.4
        self.assertEqual(response.status, 400)
        self.assertEqual(self.upper.saw("REGISTER"), [])

    @inlineCallbacks
    def test_on_a_stream_a_body_of_unknown_end_ends_it(self):
        self.patch(stream, "DRAIN_SECONDS", 0.1)
        self.patch(service, "SWEEP_SECONDS", 0.1)
        yield self.at_home()
        for name in ("ncl", "mcl01"):  # 3.1.2.3, 3.3.9
            peer = yield self.stream()
            peer.transport.write(data(f"rfc4475/{name}.dat"))
            yield until(lambda peer=peer: peer.closed, f"the end of the stream after {name}")
            self.assertEqual(peer.heard.count(b"SIP/2.0 400 "), 1, name)
        peer = yield self.stream()
        peer.transport.write(data("rfc4475/ncl.dat").replace(b"-999", b"five"))  # 3.1.2.3, its last paragraph
        yield until(lambda: peer.closed, "the end of the stream after a length that is no number")

    @inlineCallbacks
    def test_on_a_stream_a_body_that_never_ends_is_waited_for_a_while(self):
        yield self.at_home(transport='partial_message = "1s"')
        peer = yield self.stream()
        peer.transport.write(data("rfc4475/clerr.dat"))  # 3.1.2.2
        other = yield self.stream()
        other.transport.write(self.request())
        yield until(lambda: other.heard.startswith(b"SIP/2.0 200 "), "an answer on another stream")
        yield until(lambda: peer.closed, "the end of the one that waits")
        self.assertEqual((peer.heard, self.refused("slow")), (b"", 1))


class Elsewhere(Home):
    """The domain of others of them."""

    domain = "example.org"

    @inlineCallbacks
    def test_a_binary_body_arrives_whole(self):
        yield self.at_home()
        phone = yield self.awake("kumiko")
        message = with_line(data("rfc4475/mpart01.dat"), b"route", None)  # it is for another proxy than this
        response = yield self.answer(message)  # 3.1.1.11
        self.assertEqual(response.status, 200)
        [seen] = phone.saw("MESSAGE")
        self.assertEqual(seen.request.body, parse(message).body)
        self.assertEqual(seen.request.first(b"identity"), parse(message).first(b"identity"))


class Net(Home):
    """And the third."""

    domain = "example.net"

    @inlineCallbacks
    def test_an_escaped_name_is_the_users(self):
        yield self.at_home()
        phone = yield self.awake("sips:user@example.com")
        yield self.arrives(phone, "rfc4475/esc01.dat", "INVITE")  # 3.1.1.3
