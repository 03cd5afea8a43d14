"""The page: model text is escaped, differences are words, nothing tells the sides apart before the vote."""

import itertools
import random
import re
from datetime import UTC, datetime
from html import escape, unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena import OPENING, Service, Shown, create, view
from arena.diff import shared
from arena.formatting import differences, plain, rich
from arena.shown import Reveal, Side
from tests.arena_canned import answers, both

pytest_plugins = ["tests.arena_fixtures"]

HOSTILE = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "[click](javascript:alert(1))",
    "![x](http://evil.example/pixel.png)",
    "<http://evil.example>",
    '"><svg/onload=alert(1)>',
    "</textarea></article><script>alert(1)</script>",
    "```html\n<script>alert(1)</script>\n```",
    "`<script>`",
    "[ref]: http://evil.example\n\n[ref]",
]
ALLOWED = set(
    "article bdi button code details div em fieldset form h1 h2 h3 input kbd label legend li mark p pre section "
    "span strong summary textarea ul".split()
)


def shown(a, b="other", prompt="prompt"):
    return Shown("0" * 32, prompt, a, b, "Guideline", OPENING, 3, 1)


def tags(html):
    return {name.lower() for name in re.findall(r"<\s*/?\s*([A-Za-z][\w-]*)", html)}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_element_no_attribute_and_no_request(text):
    side = Side(text, {"plan": text}, {"seed": 1})
    told = Reveal("0" * 32, side, side, both("a", "b"), datetime.now(UTC), False)
    pages = [
        view.battle(shown(text, text, text), comment=text, error=text, note=text),
        view.revealed(shown(text, text, text), told, error=text),
    ]
    for page in pages:
        assert tags(page) <= ALLOWED
        assert not re.search(r"<[^>]*\b(href|src|on\w+|style=(?!\"width))", page)


AWKWARD = [
    "5! = 5*4*3*2*1 = 120", "Define __init__ and call obj.__repr__().", "Roses are red,\nviolets are blue,\n\nsugar is sweet.",
    "In HTML, write &nbsp; for a space and &lt;b&gt; for bold.", r"The root is \(x = \frac{a}{b}\), $$y_1 * y_2$$.", "~5 apples and 2 ** 3 ** 2",
    "- 5 degrees", "1986. A great year.", "path C:\\_tmp\\*.txt", "Price: 3 < 5 and 7 > 2", "    four spaces first", "snake_case_name and a_b",
    "# Title\n\n- **bold** and `code`\n- _soft words_ *here*\n\n1. first", "| a | b |\n|---|---|\n| 1 | **2** |", "```py\nx = a*b*c\n```\nafter *it*",
    "\n\nfirst", "last\n", "***both***", "a* b *c", "``x ` y``", "~~~\nnever closed *x*", "مرحبا *بالعالم*", "> quoted\n> twice",
]  # fmt: skip


def text_of(html):
    return unescape(re.sub(r"<[^>]+>", "", html))


@pytest.mark.parametrize("text", AWKWARD)
def test_every_view_shows_every_character_that_was_written(text):
    assert plain(text) == text == text_of(rich(text))
    assert [text_of(side) for side in differences(text, "other words " + text)] == [
        text,
        "other words " + text,
    ]
    assert escape(text) in re.sub(r"</?mark>", "", view.battle(shown(text, "")))


@given(st.text(alphabet="ab *_`#|~<>&\n\r\\1.-", max_size=40))
def test_formatting_takes_no_character_away(text):
    assert text_of(rich(text)) == plain(text)
    assert text_of(differences(text, "a * b")[0]) == plain(text)


def test_formatting_shows_what_the_marks_ask_for():
    page = rich("# Title\n**bold** `x*y` *soft* 5*4*3 __init__\n```\n**raw**\n```")
    assert "<strong># Title</strong>" in page and "<strong>bold</strong>" in page and "<em>soft</em>" in page
    assert "<code>x*y</code>" in page and "<code>**raw**</code>" in page and "5*4*3 __init__" in page


def test_what_a_person_or_a_model_wrote_has_the_direction_of_its_script():
    side = Side("سياسة", {"plan": "خطة"}, {})
    told = Reveal("0" * 32, side, side, both("a", "b"), datetime.now(UTC), False)
    arabic = Shown("0" * 32, "السؤال", "الجواب", "آخر", "التوجيه", OPENING, 3, 1)
    for page in (view.battle(arabic, comment="تعليق"), view.revealed(arabic, told)):
        for words in re.findall(r"<[^<>]*>[^<>]*[\u0600-\u06ff]", page):
            assert re.search(
                rf"(dir=\"auto\"|<bdi)[^>]*>(<(p|pre|mark)>)*\n?[^<>]*{re.escape(words.split('>')[-1])}", page
            )


def test_differences_mark_the_words_that_only_one_side_has():
    a, b = differences("the red & big cat", "the blue & big cat sat")
    assert a == "the <mark>red</mark> &amp; big cat"
    assert b == "the <mark>blue</mark> &amp; big cat <mark>sat</mark>"
    assert differences("same text", "same text") == ("same text", "same text")


@pytest.mark.parametrize("seed", range(20))
def test_the_words_shared_are_as_many_as_can_be(seed):
    chance = random.Random(seed)
    left, right = (chance.choices("abcd", k=chance.randrange(30)) for _ in "xy")
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, j in itertools.product(range(len(left)), range(len(right))):
        table[i + 1][j + 1] = (
            table[i][j] + 1 if left[i] == right[j] else max(table[i][j + 1], table[i + 1][j])
        )
    first, second = shared(left, right)
    assert [left[n] for n in sorted(first)] == [right[n] for n in sorted(second)]
    assert len(first) == table[-1][-1]


def test_repetitive_texts_cost_no_more_than_others():
    """Words are looked at twice each; all else is arithmetic on whole rows, of which there is one a word."""
    looks = 0

    class Word(str):
        __slots__ = ()

        def __hash__(self):
            nonlocal looks
            looks += 1
            return super().__hash__()

    left, right = ([Word(word) for word in text.split()] for text in ("a b " * 1000, "a c c " * 700))
    assert len(shared(left, right)[0]) == 700
    assert looks <= 2 * (len(left) + len(right))


def test_the_longest_texts_can_be_compared():
    a, b = differences("a b " * 5000, "a c " * 5000)
    assert a.count("<mark>b</mark>") == b.count("<mark>c</mark>") == 5000


def test_the_page_of_a_battle_is_the_same_whoever_stands_where(lite):
    """Without the texts and the id, the pages of all battles are equal: nothing is left to tell sides by."""
    create(lite, "Set", answers(4), repeats=0.2, traps=0.2)
    service = Service(lite, votes_a_minute=1000)
    rest = set()
    while (battle := service.next("Ada")) is not None:
        page = view.battle(battle)
        for text in (battle.battle, battle.prompt, rich(battle.a), rich(battle.b)):
            page = page.replace(text, "")
        page = re.sub(r'<div class="tw-plain" dir="auto">.*?</div>', "", page, flags=re.DOTALL)
        rest.add(re.sub(r"\d+(\.\d+)?%|\d+ judged, \d+|aria-value\w+=\"\d+\"| open", "", page))
        service.vote(battle.battle, "Ada", both("a", "b"))
    (page,) = rest
    assert not any(name in page for name in ("base", "formal", "trap", "repeat", "scrambled"))


def test_answers_come_back_with_an_error():
    page = view.battle(shown("one"), answers=both("tie", "b"), comment="so", error="Too fast.")
    assert 'name="helpful" value="tie" checked' in page and 'name="harmless" value="b" checked' in page
    assert ">so</textarea>" in page and '<p class="tw-error" role="alert">Too fast.</p>' in page
