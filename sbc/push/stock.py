"""The message templates in use: the operator's file where there is one, else the product's own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources

from sbc.push.templates import MAX_TEMPLATE, Template, TemplateError
from sbc.push.tokens import APNS, FCM, WEBPUSH

FILES = {FCM: "fcmmessage.txt", APNS: "pushkitmessage.txt", WEBPUSH: "webpushmessage.txt"}


@dataclass(frozen=True, slots=True)
class Templates:
    """One template for each provider, and what was wrong with the operator's."""

    apns: Template
    fcm: Template
    webpush: Template
    problems: tuple[str, ...] = ()


def load(directory: str, before: Templates | None = None) -> Templates:
    """Read the templates of *directory*. A broken one is reported, and the one used *before* (else our own) stays."""
    problems: list[str] = []
    found: dict[str, Template] = {}
    for provider, name in FILES.items():
        path = os.path.join(directory, name)
        try:
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    found[provider] = Template(file.read(4 * MAX_TEMPLATE), provider, path)
        except (TemplateError, OSError, UnicodeDecodeError) as error:
            problems.append(str(error) if isinstance(error, TemplateError) else f"{path}: {error}")
            if before is not None:
                found[provider] = getattr(before, provider)
        if provider not in found:
            own = resources.files("sbc.push").joinpath(name).read_text("utf-8")
            found[provider] = Template(own, provider, name)
    return Templates(found[APNS], found[FCM], found[WEBPUSH], tuple(problems))
