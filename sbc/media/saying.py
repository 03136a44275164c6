"""One line of the log about what forwards packets, whenever that is news."""

from __future__ import annotations

from twisted.logger import Logger

from sbc.media.control import Message

log = Logger()


class Saying:
    """`name`: what a media process said that it uses, of what was `wanted`."""

    def __init__(self, wanted: str) -> None:
        self.name = "python"
        self._wanted = wanted
        self._said = ""

    def say(self, reply: Message) -> None:
        """It said so: `name`, `how`, `why` not the kernel, and whether it may have enough `files`."""
        self.name = reply["name"]
        how = f" ({reply['how']})" if reply["how"] else ""
        why = f"; not the kernel: {reply['why']}" if reply["why"] else ""
        if not reply["files"]:
            log.warn("the limit of open files (ulimit -Hn) is too low for all media ports to be used at once")
        if (said := f"{self.name}{how}{why}") != self._said:
            self._said = said
            tell = log.warn if why and self._wanted == "kernel" else log.info
            tell("media engine: {said}", said=said)
