"""An upper server with several addresses (RFC 3263 section 4.3): the next one is tried in the same call."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from sbc.sip.build import respond
from sbc.transport.flow import Destination
from sbc.upper import health, watch
from tests.flow.scene import Calls, Stranger, until

QUICK = 'health_interval = "0.3s"\nfailover_after = "2s"'


class Unwilling(Stranger):
    """Answers nothing, or 503."""

    status = 0

    def arrived(self, txn, request):
        self.arrivals.append(request)
        if self.status and request.method != b"ACK":
            self.party.respond(txn, respond(request, self.status, to_tag=b"no"))


class Addresses(Calls):
    def setUp(self):
        self.patch(watch, "PATIENCE", 30.0)
        self.patch(health, "DOUBT", 0.2)

    @inlineCallbacks
    def behind(self, status):
        """The server's name leads to an address that gives this status (0: none) and then to the true one."""
        yield self.begin(routing=QUICK)
        self.upper.answering["echo"] = 0.05
        self.first = Unwilling("127.0.0.6")
        self.first.status = status
        self.addCleanup(self.first.party.close)
        port = self.first.party._ports[0].getHost().port
        self.place("127.0.0.6", port)

    def place(self, host, port):
        ways = self.sbc.uppers.ways
        ways._avoided.clear()
        ways._known["pbx"] = [
            Destination(b"UDP", host, port, "pbx.example.com"),
            Destination(b"UDP", "127.0.0.2", self.upper.port, "pbx.example.com"),
        ]

    def tried(self, method):
        return len({request.branch for request in self.first.arrivals if request.method == method})

    def state(self):
        [view] = self.sbc.uppers.view()
        return view.state

    @inlineCallbacks
    def goes_on(self, status):
        yield self.behind(status)
        phone = yield self.awake(transport="udp", talks=True)
        self.assertEqual((self.tried(b"REGISTER") >= 1, phone.awake), (True, True))
        self.sbc.uppers.ways._avoided.clear()
        for count in (1, 1):
            call = phone.call("echo")
            heard = yield self.final(call)
            self.assertEqual(heard, 200)
            self.assertEqual(self.tried(b"INVITE"), count, "the second call knows better")
            yield call.hang_up()
        yield until(lambda: self.upper.saw("OPTIONS"), "OPTIONS goes there too")
        yield until(lambda: self.state() == "up", "the server is in no trouble")

    @inlineCallbacks
    def test_a_silent_address(self):
        yield self.goes_on(0)

    @inlineCallbacks
    def test_an_address_that_says_503(self):
        yield self.goes_on(503)

    @inlineCallbacks
    def test_a_server_none_of_whose_addresses_answers_is_down(self):
        yield self.behind(0)
        yield self.awake(transport="udp", talks=True)
        yield self.upper.stop()
        self.patch(watch, "PATIENCE", 0.3)
        yield until(lambda: self.state() == "down", "it is down")
        yield self.upper.start()
        yield until(lambda: self.state() == "up", "it is up")
