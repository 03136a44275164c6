"""After which final responses of an upper server the next one may do better."""

from __future__ import annotations

CALLS: dict[int, str] = {
    408: "a proxy there waited in vain for what is behind it; not once the call rang, for then nobody answered",
    500: "the server broke over it",
    502: "a gateway there found nobody behind it",
    503: "out of service, or no line left (RFC 3263 §4.3: the next server)",
    504: "the server waited in vain for another one",
    513: "too large for that server",
    580: "no resources for the media there (RFC 3312)",
}
"""For requests outside dialogs. 501 and 505 are not among them: the next server of a domain runs the same software. 4xx
and 6xx are answers about the call."""

REGISTRATIONS: dict[int, str] = {
    408: "a proxy there waited in vain for the registrar",
    500: "its database is away, most often",
    502: "a proxy there found no registrar",
    503: "out of service or overloaded",
    504: "the registrar waited in vain for its database",
}
"""For REGISTER."""
