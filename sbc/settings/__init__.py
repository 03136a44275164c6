"""How a setting is declared, read, checked, overlaid and described.

In: the text of `sbc.toml`, the rows of the SQL settings table, and the sections that the rooms declare beside
their use. Out: one immutable `Configuration` with an instance of each section, or every mistake at once with file,
line and key; a commented example file; the reference page. Pure: no files are opened here.

Read `declare.py` first, then `kinds.py` (what a value may be) and `load.py`.
"""

from sbc.settings.addresses import Address, HostPort, Networks, PortRange, Ports, SipUri
from sbc.settings.compound import Either, Ignored, List, Numbered
from sbc.settings.configuration import Change, Configuration, changes
from sbc.settings.declare import section, setting
from sbc.settings.describe import example, reference
from sbc.settings.kinds import Duration, FilePath, Flag, Integer, Kind, Number, Text, Words
from sbc.settings.load import load
from sbc.settings.mistakes import ConfigurationErrors, Mistake
from sbc.settings.node import NodeSettings

__all__ = [
    "Address",
    "Change",
    "Configuration",
    "ConfigurationErrors",
    "Duration",
    "Either",
    "FilePath",
    "Flag",
    "HostPort",
    "Ignored",
    "Integer",
    "Kind",
    "List",
    "Mistake",
    "Networks",
    "NodeSettings",
    "Number",
    "Numbered",
    "PortRange",
    "Ports",
    "SipUri",
    "Text",
    "Words",
    "changes",
    "example",
    "load",
    "reference",
    "section",
    "setting",
]
