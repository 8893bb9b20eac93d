"""Markdown in Telegram's HTML: what becomes of each mark, and that every text comes out well-formed and whole."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telegram_markup import telegram_html, without_marks
from gateway.messages.split import split
from tests.fakes.telegram_markup import MarkupError, visible
from tests.fuzz.profiles import tries


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "plain"),
        ("a < b & c > \"d\" 'e'", "a &lt; b &amp; c &gt; \"d\" 'e'"),
        ("**bold** __bold__", "<b>bold</b> <b>bold</b>"),
        ("*italic* _italic_", "<i>italic</i> <i>italic</i>"),
        ("***both***", "<b><i>both</i></b>"),
        ("**bold *and italic* so**", "<b>bold <i>and italic</i> so</b>"),
        ("*italic **and bold***", "<i>italic <b>and bold</b></i>"),
        ("_italic __and bold___ _snake_case_", "<i>italic <b>and bold</b></i> <i>snake_case</i>"),
        ("*one* and *two* and **three** *four*", "<i>one</i> and <i>two</i> and <b>three</b> <i>four</i>"),
        ("~~gone~~", "<s>gone</s>"),
        ("`a < b` and ``a`b``", "<code>a &lt; b</code> and <code>a`b</code>"),
        ("`**not bold**`", "<code>**not bold**</code>"),
        ("a_snake_case __init__ name", "a_snake_case <b>init</b> name"),
        ("2 * 3 * 4 ** 5 _ 6", "2 * 3 * 4 ** 5 _ 6"),
        ("**open *open `open ~~open [open](", "**open *open `open ~~open [open]("),
        (r"\*not italic\* \`no code\` \n", r"*not italic* `no code` \n"),
        ("[a *link*](https://x.y/?a=1&b=(2))", '<a href="https://x.y/?a=1&amp;b=(2)">a <i>link</i></a>'),
        ('[titled](https://x.y "its title")', '<a href="https://x.y">titled</a>'),
        ('[quoted](https://x.y/")', '<a href="https://x.y/&quot;">quoted</a>'),
        ("![a picture](https://x.y/z.png)", '<a href="https://x.y/z.png">a picture</a>'),
        ("[no](javascript:alert) [no](page.html)", "[no](javascript:alert) [no](page.html)"),
        ("# One\n### Three ###\n#hashtag", "<b>One</b>\n<b>Three</b>\n#hashtag"),
        ("## With `code`", "<b>With <code>code</code></b>"),
        ("- one\n  * two\n+ **three**\n1. four", "• one\n  • two\n• <b>three</b>\n1. four"),
        ("---\n***", "---\n***"),
        ("```\na < b\n\n  *c*\n```", "<pre>a &lt; b\n\n  *c*</pre>"),
        ("```c++ title\nx\n```\nafter", '<pre><code class="language-c++">x</code></pre>\nafter'),
        ("~~~\n```\n~~~", "<pre>```</pre>"),
        ("```py\nnever closed", '<pre><code class="language-py">never closed</code></pre>'),
        ('```"><b>\nx\n```', "<pre>x</pre>"),
        ("<b>no HTML</b> &amp;", "&lt;b&gt;no HTML&lt;/b&gt; &amp;amp;"),
    ],
)
def test_markdown(text: str, html: str) -> None:
    assert telegram_html(text, "markdown") == html
    visible(html)


@pytest.mark.parametrize("text", ["```\n```", "```py\n\n```", "`` ` ``"])
def test_marks_around_nothing_are_shown_as_they_are(text: str) -> None:
    """The network takes no empty message."""
    assert visible(telegram_html(text, "markdown")).strip()


def test_html_goes_as_it_is_and_without_its_tags_where_it_is_refused() -> None:
    text = "<p>1 &lt; 2</p><b>bold</b>"
    assert telegram_html(text, "html") == text
    assert without_marks(text, "html") == "1 < 2\nbold"
    assert without_marks("**bold**", "markdown") == "**bold**"


MARKS = [
    "**",
    "*",
    "__",
    "_",
    "***",
    "~~",
    "`",
    "``",
    "```",
    "```py\n",
    "~~~",
    "\n",
    "\\",
    "#",
    "# ",
    "- ",
    "[",
    "](",
    ")",
    "!",
]
TEXTS = st.lists(
    st.one_of(
        st.sampled_from([*MARKS, " ", "<b>", "</b>", "&lt;", "&", '"', "😀", "https://x.y", "[l](https://x.y/z_)"]),
        st.text("ab ", max_size=4),
    ),
    max_size=40,
).map("".join)


def letters(text: str) -> Counter[str]:
    return Counter(re.sub(r"\W|_", "", text))


@tries(500)
@given(text=TEXTS)
def test_every_text_is_well_formed_whole_and_no_longer(text: str) -> None:
    """The network's own reading of it: nothing that is no mark is gone, and what is seen fits where the text did."""
    html = telegram_html(text, "markdown")
    seen = visible(html)
    addresses = "".join(re.findall(r'<a href="([^"]*)"', html))
    languages = "".join(re.findall(r'class="language-([^"]*)"', html))
    assert letters(seen) + letters(addresses) + letters(languages) >= letters(text) - letters("".join(infos(text)))
    assert len(seen) <= len(text)
    assert not text.strip() or seen.strip()


def infos(text: str) -> list[str]:
    """What stands behind fences: of that the language is kept alone."""
    return [line for line in text.split("\n") if re.match(r"[ \t]*(```|~~~)", line)]


@tries(200)
@given(text=st.lists(TEXTS, max_size=8).map("\n".join), limit=st.integers(24, 120))
def test_the_parts_of_a_long_text_fit_when_they_are_marked_up(text: str, limit: int) -> None:
    for part in split(text, "markdown", limit):
        seen = visible(telegram_html(part, "markdown"))
        assert 0 < len(seen.encode("utf-16-le")) // 2 <= limit
        assert seen.strip()


@pytest.mark.parametrize(
    "text",
    [
        "**" * 2_048,
        "*_" * 1_000 + "x" + "_*" * 1_000,
        "[" * 4_096,
        "`" * 4_095,
        "** a" * 1_024,
        "_a" * 2_048,
        "_a" + "_" * 4_000,
        "*a" + "*" * 4_000,
        "_a" + "__b" * 1_300,
        "[a](https://(" * 300,
    ],
)
def test_marks_without_end_are_read_in_time(text: str) -> None:
    assert letters(visible(telegram_html(text, "markdown"))) == letters(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<p>a</p>", 'Unsupported start tag "p" at byte offset 0'),
        ("ä<b>a", 'Can\'t find end tag corresponding to start tag "b"'),
        ("ä<b>a</i>", 'Unmatched end tag at byte offset 6, expected "</b>", found "</i>"'),
        ("a</b>", "Unexpected end tag at byte offset 1"),
        ("a < b", "Unclosed start tag at byte offset 2"),
    ],
)
def test_what_the_network_would_refuse_is_seen_here(text: str, why: str) -> None:
    with pytest.raises(MarkupError, match=re.escape(why)):
        visible(text)
