"""Line numbers for everything a TOML text can name."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from sbc.settings.lines import key_lines

TEXT = '''\
# a comment with key = "value"
top = 1
a.b."c.d" = 2   # dotted, quoted

[node]
name = """
# not a comment
[not.a.table]
x = 1 \\"""
"""
after = 'a # no comment'

[[push.app]]
id = "one"
ports = [ 1, # one
  [ 2, 3 ],
  { deep = "[", more = "]" },
]
[push.app.extra]
z = 1
[[push.app]]
id = """"quoted"""""
last = \'\'\'
it''s\'\'\'
[push]
late = { x = 1, y.z = [ "}", "]" ] }
"sp ace" = 2020-01-01T00:00:00Z
'tick"s' = +inf
'''


def test_every_form_of_key_has_its_line() -> None:
    lines = key_lines(TEXT)
    assert lines["top",] == 2
    assert lines["a", "b", "c.d"] == lines["a",] == 3
    assert lines["node",] == 5
    assert lines["node", "name"] == 6
    assert lines["node", "after"] == 11
    assert lines["push", "app", 0] == 13
    assert lines["push", "app", 0, "ports"] == 15
    assert lines["push", "app", 0, "ports", 1, 1] == 16
    assert lines["push", "app", 0, "ports", 2, "more"] == 17
    assert lines["push", "app", 0, "extra", "z"] == 20
    assert lines["push", "app", 1] == 21
    assert lines["push", "app", 1, "last"] == 23
    assert lines["push", "late", "y", "z", 1] == 26
    assert lines["push", "sp ace"] == 27
    assert lines["push", 'tick"s'] == 28
    assert ("not",) not in lines


def test_windows_line_ends_count_once() -> None:
    assert key_lines("a = 1\r\n\r\nb = '''\r\nx'''\r\nc = 2\r\n") == {("a",): 1, ("b",): 3, ("c",): 5}


def test_no_line_end_at_the_end() -> None:
    assert key_lines("a = 1 # last") == {("a",): 1}
    assert key_lines("a = [1]\nb = true") == {("a",): 1, ("a", 0): 1, ("b",): 2}


def test_escaped_key() -> None:
    assert key_lines('"a\\u0062\\"c" = 1')['ab"c',] == 1


def _paths(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    found = {path} if path else set()
    if isinstance(value, dict):
        return found.union(*(_paths(inner, (*path, key)) for key, inner in value.items()))
    if isinstance(value, list):
        return found.union(*(_paths(inner, (*path, index)) for index, inner in enumerate(value)))
    return found


def test_every_path_that_tomllib_sees_has_a_line() -> None:
    assert _paths(tomllib.loads(TEXT)) <= set(key_lines(TEXT))


@given(st.text(alphabet="ab\"'\\[]{}=.,# \n1", max_size=40))
def test_whatever_tomllib_accepts_is_followed_to_its_end(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert _paths(document) <= set(key_lines(text))
