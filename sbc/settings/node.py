"""The settings of the node itself."""

import platform
from dataclasses import dataclass

from sbc.settings.declare import section, setting
from sbc.settings.kinds import FilePath, Text, Words


@section("node", doc="This node of the service")
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    name: str = setting(
        kind=Text(required=True, maximum=64),
        factory=lambda: platform.node() or "sbc",
        shown="the host name",
        doc="name of this node, unique among the nodes that share a database",
        restart=True,
    )
    state: str = setting(
        "var", FilePath(required=True), doc="directory of the database, the secret key and trace files", restart=True
    )
    stop: str = setting(
        "leave",
        Words({"leave": None, "end": None}),
        doc="what becomes of answered calls when the node is stopped (SIGTERM): leave, they go on, audio included, and "
        "the process that is started next takes them over; end, they have ten seconds to end by themselves, then both "
        "sides get a BYE",
    )
