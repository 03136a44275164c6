"""A call that was logged is stored and read again: call log, store and API together."""

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import TestCase

from sbc.admin.api import api_routes
from sbc.admin.pages import page_routes
from sbc.observe import kinds
from sbc.observe.calllog import CallLog
from sbc.store.journal import SaveCalls
from sbc.store.secret import Secret
from sbc.store.service import Store
from tests.unit.admin.browser import Browser, read_page
from tests.unit.admin.nodes import a_node
from tests.waiting import until

AT = 1_700_000_000.0


class Together(TestCase):
    @inlineCallbacks
    def test_a_call_is_stored_and_read_again(self):
        database = Path(self.mktemp())
        store = Store(reactor, f"sqlite:///{database}", Secret(b"k" * 32))
        store.startService()
        self.addCleanup(store.stopService)
        written = []
        log = CallLog(lambda batch: written.append(store.write(SaveCalls(batch.calls, batch.events, "edge-1"))))
        call = log.start("c1", "sip:bob@pbx", "sip:alice@pbx", "pbx", AT)
        log.event(call, kinds.PUSH_SENT, "apns", AT + 0.1)
        log.event(call, kinds.WOKEN, "device 1", AT + 2.1)
        log.end(call, 200, "OK", "caller", AT + 60)
        log.flush(AT + 61)
        yield written[0]

        node = a_node(store=store, call_log=log)
        self.browser = Browser((*api_routes(node, "0.1.0"), *page_routes(node, "0.1.0")))
        cdrs = yield self.get("/api/v1/cdrs")
        (cdr,) = cdrs.json["items"]
        self.assertEqual((cdr["call_id"], cdr["code"], cdr["pushed"], cdr["node"]), ("c1", 200, True, "edge-1"))
        self.assertAlmostEqual(cdr["woke_after"], 2.0)
        events = yield self.get("/api/v1/calls/c1/events")
        self.assertEqual([line["kind"] for line in events.json["items"]], ["invite", "push_sent", "woken", "ended"])
        page = yield self.get(f"/cdrs/{cdr['id']}")
        self.assertIn("push service", page.text)

    def get(self, path) -> Deferred:
        """The page, once the store's thread has answered."""
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        transport, _ = self.browser.send(head.encode())
        return until(lambda: transport.disconnecting).addCallback(lambda _: read_page(transport.value()))
