"""The head of the page: one model is named, of several one is chosen."""

import re

import pytest

from lab.head import Way, Ways, head

TWO = (Way("first", "./", here=True), Way("second", "./models/second/"))


def links(html: str) -> dict[str, str]:
    return {name: address for address, name in re.findall(r'<a href="([^"]*)"[^>]*><b>([^<]*)</b>', html)}


@pytest.mark.parametrize("ways", [Ways(), Ways(TWO[:1])])
def test_a_model_alone_is_named_and_there_is_nothing_to_choose(ways: Ways) -> None:
    html = head("first", ways)
    assert "first" in html and "<details" not in html and not links(html)


def test_of_several_each_has_its_address_and_the_one_that_is_shown_is_marked() -> None:
    html = head("first", Ways(TWO))
    assert links(html) == {"first": "./", "second": "./models/second/"}
    assert re.findall(r'<a href="([^"]*)" aria-current=page>', html) == ["./"]


def test_a_name_is_text_and_an_address_stays_in_its_attribute() -> None:
    name, address = "<img src=x onerror=alert(1)>", 'models/"><script>/'
    html = head(name, Ways((Way(name, "./", here=True), Way(name, address))))
    assert "<img" not in html and "<script>/" not in html and html.count("&lt;img src=x") == 4


@pytest.mark.parametrize(
    ("in_memory", "rule"),
    [(1, "One model is in memory at a time"), (2, "2 models are in memory"), (3, "Each is loaded"), (9, "Each is loaded")],
)  # fmt: skip
def test_the_rule_tells_how_many_are_in_memory(in_memory: int, rule: str) -> None:
    ways = Ways((*TWO, Way("third", "./models/third/")), in_memory)
    assert ways.rule.startswith(rule) and ways.rule in head("first", ways)
