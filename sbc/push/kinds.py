"""Kinds of values that only the settings of push have.  [pure]"""

from __future__ import annotations

import re

from sbc.settings import Kind


class ServerUrl(Kind[str]):
    """An ``https://`` (in tests ``http://``) address; a bare host is taken as ``https://``."""

    words = 'an address like "https://push.example.com"'

    def read(self, raw: object) -> str:
        if not isinstance(raw, str) or not raw.strip() or any(character <= " " for character in raw.strip()):
            raise self.refuse(raw)
        url = raw.strip() if "://" in raw else f"https://{raw.strip()}"
        if not re.match(r"https?://[^/?#@]+(/[^?#]*)?\Z", url):
            raise self.refuse(raw)
        return url.rstrip("/")


class Document(Kind[str]):
    """A JSON document, or the path of a file that holds one."""

    words = "a service account as JSON, or the path of its file"
    LIMIT = 64 * 1024  # characters; a service account has about 2,400

    def read(self, raw: object) -> str:
        if not isinstance(raw, str) or not raw.strip() or len(raw) > self.LIMIT:
            raise self.refuse(raw)
        return raw.strip()
