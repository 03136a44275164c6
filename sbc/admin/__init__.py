"""How operators see and steer a node: HTTP API, web pages, ``/healthz``, ``/metrics``, and the console `sbcctl`.

In: HTTP requests, and a `Node` (in `ports`) that `service.py` fills: the store to read, the live calls, the SIP trace,
the metrics, what can be done. Out: JSON, Prometheus text, HTML; actions carried out. Nothing here is on the way of a
call.

Read first `ports` (what is handed in), then `routes` (what a route is: one table serves requests and becomes OpenAPI),
`access` (who may do what) and `server` (the edge). `api` is the table of the API, over `resources` and `queries` (what
is read) and `actions` (what is done); `pages` makes the HTML, `ladder` the drawing of a call. `console` is the `sbcctl`
program, which talks HTTP only.
"""
