"""What the declarations say, for people: a commented `sbc.toml` and the reference page."""

from collections.abc import Iterable, Sequence
from textwrap import wrap

from sbc.settings.compound import Ignored
from sbc.settings.declare import Declaration, SectionInfo, section_info


def example(sections: Sequence[type], *, given: str = "") -> str:
    """A configuration file with every setting commented out at its default, so that it changes nothing.

    `given` is TOML text put on top for what a first start should have.
    """
    blocks = [given.rstrip()] if given else []
    for info in map(section_info, sections):
        head = f"[[{info.name}]]" if info.array else f"[{info.name}]"
        lines = [*_comment(info.doc), f"#{head}" if info.array else head]
        for declaration in info:
            if isinstance(declaration.kind, Ignored):
                continue
            lines.append("")
            lines += _comment(f"{declaration.doc}; {declaration.kind.words}")
            lines.append(f"#{declaration.name} = {_toml_default(declaration)}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _comment(text: str) -> Iterable[str]:
    return (f"# {line}" for line in wrap(text, 100))


def _toml_default(declaration: Declaration) -> str:
    if declaration.required or declaration.shown is not None:
        return '""' + (f"  # default: {declaration.shown}" if declaration.shown else "  # required")
    return declaration.kind.toml(declaration.default_value())


def reference(sections: Sequence[type]) -> str:
    """The reference of all settings as a reStructuredText page, one part a section."""
    title = "Settings"
    parts = [
        f"{title}\n{'=' * len(title)}",
        "Every setting, its default, what it takes and the other names it is known by. Other names are accepted in the"
        " file (in the section or in any table around it), in the ``settings`` table, in the HTTP API and on the"
        " console. Settings marked *restart* are not taken over by a reload.",
    ]
    parts += [_part(info) for info in map(section_info, sections)]
    return "\n\n".join(parts) + "\n"


def _part(info: SectionInfo) -> str:
    head = f"[[{info.name}]]" if info.array else f"[{info.name}]"
    entries = [f"{head}\n{'-' * len(head)}", f"{info.doc}."]
    if info.array:
        entries.append("May be given any number of times.")
    entries.extend(map(_entry, info))
    return "\n\n".join(entries)


def _entry(declaration: Declaration) -> str:
    facts = []
    if isinstance(declaration.kind, Ignored):
        facts.append(f"Accepted without effect: {declaration.kind.reason}.")
    else:
        facts.append(f"{_escape(declaration.doc[:1].upper() + declaration.doc[1:])}.")
        facts.append(f"Takes {_escape(declaration.kind.words)}.")
        facts.append(_default(declaration))
    if declaration.aliases:
        facts.append(f"Also known as {', '.join(f'``{alias}``' for alias in declaration.aliases)}.")
    if declaration.secret:
        facts.append("Secret: never shown.")
    if declaration.restart:
        facts.append("*Restart.*")
    return f"``{declaration.name}``\n" + "\n".join(
        wrap(" ".join(facts), 110, initial_indent="   ", subsequent_indent="   ")
    )


def _escape(words: str) -> str:
    """Text that reStructuredText would take as markup."""
    return words.replace("\\", "\\\\").replace("*", "\\*").replace("`", "\\`").replace("|", "\\|")


def _default(declaration: Declaration) -> str:
    if declaration.required:
        return "Required."
    if declaration.shown is not None:
        return f"Default: {declaration.shown}."
    shown = declaration.kind.show(declaration.default_value())
    return f"Default: ``{shown}``." if shown.strip() else "Default: empty."
