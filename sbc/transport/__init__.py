"""Bytes in and out: UDP, TCP, TLS, WebSocket listeners and connections, flows, and where a SIP URI leads.

In: the `[[listen]]` sections, limits, certificates, whole messages to send on a flow. Out: whole, unparsed SIP
messages with the flow they came on (`Receiver`), connections lost, and lists of destinations (RFC 3263).

Read `flow.py` first (the words everybody shares), then `service.py`.
"""
