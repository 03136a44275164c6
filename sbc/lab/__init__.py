"""The laboratory: what the product talks to, emulated, so that it can be shown, tested and tried without accounts.

In: nothing from outside; the parties listen on loopback addresses (any free port) and are told what to do by scripts.
Out: Apple's, Google's and a Web Push service (`apns`, `fcm`, `webpush`), an operator's own SIP server (`upper`), a SIP
phone that sleeps and is woken by pushes (`phone`), and one complete call through a real SBC process (`demo`).

Every party takes the reactor it lives on, has ``start() -> Deferred`` and ``stop() -> Deferred``, records what it saw
with times, and takes a `script.Script` that makes it misbehave. Nothing in the product imports this package.

Read `party` first (the SIP stack of a laboratory party), then `phone` and `upper`; for the push services `http2` and
`apns`.
"""
