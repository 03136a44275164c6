"""Routing rules, and what they make of a call."""

from __future__ import annotations

import pytest

from sbc.upper.patterns import CALLED, CALLER, MAX_LENGTH, Matched, Pattern, check_rewrite, listed, rewritten
from sbc.upper.rules import Ask, RuleError, decide, explain, read_days, read_hours, read_rule, read_when
from tests import cpu

MONDAY_NOON = {"weekday": 0, "minute": 12 * 60}


def ask(**changes):
    given = {
        "method": "INVITE",
        "caller": "alice",
        "called": "004930123456",
        "domain": "pbx.example.com",
        "source": "192.0.2.7",
        "direction": "out",
        **MONDAY_NOON,
    }
    return Ask(**{**given, **changes})


def rule(**given):
    return read_rule({"name": "r", "upper": "trunk", **given})


def fits(asked, **given):
    return decide([rule(**given)], asked).rule is not None


def test_patterns():
    assert Pattern.read("0049*").match("004930123456") == ("30123456",)
    assert Pattern.read("0049*").match("0043") is None
    assert Pattern.read("1##").match("123") == ("23",)
    assert Pattern.read("1##").match("12a") is None
    assert Pattern.read("a?c*").match("ABCdef") == ("B", "def")
    assert Pattern.read("+49*").match("+4930") == ("30",)
    assert Pattern.read("*@*").match("a@b@c") == ("a@b", "c")
    assert Pattern.read(".").match("x") is None, "a point is a point"
    for wrong in ("", "x" * (MAX_LENGTH + 1), "*a*b*"):
        with pytest.raises(ValueError):
            Pattern.read(wrong)


def test_no_text_takes_long():
    def work():
        for text in ("a" * 200, "0" * 65_536, "*" * 200, "a" * 199 + "!"):
            for pattern in (
                *("*a*b", "*#", "a*a*b", "?" * 200),
                *(
                    "/(.*)a(.*)b/",
                    "/(a|aa)(a|aa)(a|aa)a*b/",
                    "/(a{1,3}){5}a*b/",
                    "/a?a?a?a?a?a?a?a*b/",
                    "/(a+)x?(a+)b/",
                ),
            ):
                Pattern.read(pattern).match(text)

    assert cpu.least(work, 2.0) < 2.0


def test_regular_expressions():
    assert Pattern.read(r"/(?:00|\+)49([1-9]\d*)/").match("004930") == ("30",)
    assert Pattern.read(r"/(?:00|\+)49([1-9]\d*)/").match("+4930") == ("30",)
    assert Pattern.read(r"/(?:00|\+)49([1-9]\d*)/").match("x004930") is None, "the whole text"
    assert Pattern.read(r"/(sales|support)(-[a-z]+)?/").match("SALES") == ("SALES", ""), "in any case of letters"
    assert Pattern.read(r"/[0-9]{3,5}/").match("123456") is None
    assert Pattern.read(r"/[^]a]+/").match("b") == ()
    assert Pattern.read(r"/\./").match("x") is None
    assert Pattern.read("//").match("//") == (), "two slashes are two slashes"


@pytest.mark.parametrize(
    "wrong",
    [
        r"(a+)+", r"(a|a)*", r"(a|aa){20}", r"(a?){40}", r".*.*.*", r"(a*)*", r"(a|b|ab)*c", r"(\d{1,20}){20}",
        r"(?=a)b", r"(?P<n>a)", r"(?i)a", r"(a)\1", r"a**", r"a++", r"*a", r"^a", r"a$", r"\Z",
        "(a", "a)", "[a", "a{x}", r"a{5,2}", r"a{900}", "\\", r"(?>a)", r"[[:digit:]]",
    ],
)  # fmt: skip
def test_expressions_that_could_take_long_or_are_none(wrong):
    with pytest.raises(ValueError, match=r"^\S"):
        Pattern.read(f"/{wrong}/")


def test_patterns_in_a_text_with_commas():
    assert listed(r"0*, /1\d{2,4}/ ,/a,b/,2*") == ["0*", r"/1\d{2,4}/", "/a,b/", "2*"]
    assert listed("") == listed(" , ") == []
    assert listed("a/b, c/d") == ["a/b", "c/d"]


def test_rewrites():
    patterns = {CALLED: (Pattern.read("0049*"),), CALLER: (Pattern.read("/(1)(..)/"), Pattern.read("9*"))}
    matched = {CALLED: Matched("004930", ("30",)), CALLER: Matched("123", ("1", "23"))}
    assert rewritten("+49{1}", CALLED, matched) == "+4930"
    assert rewritten("+4930{1}", CALLER, matched) == "+49301"
    assert rewritten("{called.1}-{caller.2}-{caller}-{called}", CALLER, matched) == "30-23-123-004930"
    for template in ("+49{1}", "{called.1}", "{caller.1}{caller}{called}", "plain"):
        check_rewrite(template, CALLED, patterns)
    for wrong in ("{2}", "{caller.2}", "{called.3}", "{", "{}", "{0}", "{other}", "{caller.}"):
        with pytest.raises(ValueError):
            check_rewrite(wrong, CALLED, patterns)
    with pytest.raises(ValueError):
        check_rewrite("{1}", CALLED, {CALLED: (), CALLER: ()})


def test_the_first_rule_that_fits_decides():
    rules = [
        rule(name="austria", called="0043*", upper="vienna"),
        rule(name="germany", called="0049*, +49*", upper=["berlin", "munich"], rewrite="+49{1}"),
        rule(name="premium", called="0*", upper="", reject=403),
    ]
    decision = decide(rules, ask())
    assert (decision.rule.name, decision.rule.uppers, decision.called) == (
        "germany",
        ("berlin", "munich"),
        "+4930123456",
    )
    assert decide(rules, ask(called="0900123")).reject == 403
    nothing = decide(rules, ask(called="bob"))
    assert (nothing.rule, nothing.reject, nothing.called) == (None, 0, "bob")


def test_each_condition():
    assert fits(ask(), method="invite, message")
    assert not fits(ask(method="SUBSCRIBE"), method="invite, message")
    assert fits(ask(), caller="ali*")
    assert not fits(ask(), caller="bob")
    assert fits(ask(), domain="*.example.com")
    assert not fits(ask(), domain="other.example")
    assert fits(ask(), source="192.0.2.0/24, 2001:db8::/32")
    assert fits(ask(source="2001:db8::5"), source="192.0.2.0/24, 2001:db8::/32")
    assert not fits(ask(source="198.51.100.1"), source="192.0.2.0/24")
    assert not fits(ask(direction="in"))
    assert fits(ask(direction="in"), direction="any", upper="", reject=603)


def test_times():
    assert fits(ask(), days="mon-fri")
    assert not fits(ask(weekday=5), days="mon-fri")
    assert fits(ask(weekday=6), days="fri-mon")
    assert fits(ask(), hours="08:00-18:00")
    assert not fits(ask(minute=18 * 60), hours="08:00-18:00")
    night = {"hours": "22:00-06:00", "days": "fri"}
    assert fits(ask(weekday=4, minute=23 * 60), **night)
    assert fits(ask(weekday=5, minute=3 * 60), **night), "the night of Friday ends on Saturday"
    assert not fits(ask(weekday=4, minute=3 * 60), **night)
    assert not fits(ask(weekday=4), **night)
    assert read_days("Sunday") == (6,)
    assert read_hours("") is None


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"called": "*1*2*"}, "called"),
        ({"rewrite": "{1}"}, "rewrite"),
        ({"called": "0*", "rewrite": "{3}"}, "rewrite"),
        ({"reject": 200, "upper": ""}, "reject"),
        ({"reject": 403}, "upper"),
        ({"upper": ""}, "upper"),
        ({"source": "here"}, "source"),
        ({"days": "someday"}, "days"),
        ({"hours": "8 to 5"}, "hours"),
        ({"hours": "08:00"}, "hours"),
        ({"direction": "up"}, "direction"),
        ({"direction": "in"}, "direction"),
        ({"direction": "in", "upper": "", "rewrite": "x"}, "direction"),
        ({"caller": "/(a+)+/"}, "caller"),
        ({"rewrite_caller": "{1}"}, "rewrite_caller"),
        ({"called": "0*", "rewrite_caller": "{1}"}, "rewrite_caller"),
        ({"rewrite": "{", "called": "0*"}, "rewrite"),
        ({"upper": "", "reject": 403, "rewrite_caller": "x"}, "upper"),
    ],
)
def test_mistakes_are_told_with_their_key(given, key):
    with pytest.raises(RuleError) as mistake:
        rule(**given)
    assert mistake.value.key == key


def test_both_names_are_written_anew():
    made = rule(called=r"/00(49)(\d+)/", caller="1##, 2##", rewrite="+{1}{2}", rewrite_caller="+{called.1}89555{1}")
    decision = decide([made], ask(called="004930", caller="201"))
    assert (decision.called, decision.caller) == ("+4930", "+498955501")
    only = rule(upper="", rewrite_caller="reception")
    assert decide([only], ask()).caller == "reception"
    assert decide([only], ask()).called == "004930123456"
    arriving = rule(direction="in", upper="", caller="/0([1-9].*)/", rewrite_caller="+49{1}")
    assert decide([arriving], ask(direction="in", caller="030123")).caller == "+4930123"


def test_a_time_as_people_say_it():
    assert read_when("fri 23:15") == (4, 23 * 60 + 15)
    assert read_when("Sunday 0:00") == (6, 0)
    for wrong in ("", "fri", "23:15", "fri 23:75"):
        with pytest.raises(ValueError):
            read_when(wrong)


def test_a_dry_run_gives_every_rule_and_why():
    rules = [
        rule(name="night", hours="22:00-06:00"),
        rule(name="austria", called="0043*"),
        rule(name="all"),
        rule(name="never reached", called="0*"),
    ]
    told = [(tried.rule.name, tried.fits, tried.why) for tried in explain(rules, ask())]
    assert told == [
        ("night", False, "time mon 12:00"),
        ("austria", False, "called 004930123456"),
        ("all", True, ""),
        ("never reached", True, ""),
    ]
