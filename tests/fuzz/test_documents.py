"""Edits of texts as people write them: what is not changed stays as it was, byte for byte."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.config.edit import merge_patch
from gateway.config.file import parse
from gateway.config.merge import identity, merged
from tests.fuzz.documents import Document, Path, documents, patch_of, within
from tests.fuzz.profiles import tries

TEXTS = [
    "new",
    "it's new",
    "a: b",
    "# no",
    " blanks ",
    "",
    "no",
    "12",
    "${NEW}",
    "$${x}",
    "[x",
    "two\nlines\n",
    "ü😀",
    "\u2028",
]
SCALARS = st.one_of(st.sampled_from([*TEXTS, True, False, 7, 0.5]), st.integers(-(2**70), 2**70))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["n", "m n", "12"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def patched(document: Document, patch: dict[str, Any]) -> str:
    """It says what it must, and says it for good."""
    raw = document.text.encode()
    new = merge_patch(patch)(raw)
    assert identity(parse(new)) == identity(merged(parse(raw), patch))
    assert merge_patch(patch)(new) == new, "the same patch again changed something"
    return new.decode()


def named(document: Document, *, root: bool = False) -> list[Path]:
    """What a patch can name: what is in mappings in mappings."""
    found = [path for path in document.places if all(isinstance(step, str) for step in path)]
    return [(), *found] if root else found


def left_of(document: Document, *spans: tuple[int, int]) -> list[str]:
    """The comments and the values that are not within these spans."""
    return [text for at, text in document.tokens if not any(begin <= at < end for begin, end in spans)]


def assert_in_order(parts: list[str], text: str) -> None:
    at = 0
    for part in parts:
        found = text.find(part, at)
        assert found >= 0, f"{part!r} is gone, or elsewhere"
        at = found + len(part)


@tries(150)
@given(document=documents(), data=st.data())
def test_case_one_value_changes_and_all_around_it_stays(document: Document, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(named(document)))
    place = document.places[path]
    value = data.draw(SCALARS)
    assume(identity(within(parse(document.text.encode()), path)) != identity(value))
    new = patched(document, patch_of(path, value))
    begin, end = place.value
    if place.kind in ("scalar", "flow", "in brackets"):
        assert new.startswith(document.text[:begin])
        assert new.endswith(document.text[end:])
    else:
        assert new.startswith(document.text[:begin].rstrip(" "))
        assert new.endswith(document.text[place.entry[1] :].lstrip("\r\n"))
    if place.kind != "in brackets" or "\n" not in document.text[begin:end]:
        assert_in_order(left_of(document, place.value), new)


@tries(150)
@given(document=documents(), data=st.data())
def test_a_key_is_added_and_all_that_was_there_stays(document: Document, data: st.DataObject) -> None:
    plain = parse(document.text.encode())
    path = data.draw(st.sampled_from([p for p in named(document, root=True) if isinstance(within(plain, p), dict)]))
    value = data.draw(VALUES)
    new = patched(document, patch_of((*path, "added"), value))
    assert_in_order([text for _, text in document.tokens], new)
    if within(plain, path):  # else a pair of brackets went
        rest = iter(new)
        assert all(character in rest for character in document.text), "something went"
        changed = [line for line in document.text.splitlines() if line not in new.splitlines()]
        assert len(changed) <= 1, "the line of the brackets, or the one that gets a comma"


@tries(150)
@given(document=documents(), data=st.data())
def test_a_key_goes_with_its_own_lines_alone(document: Document, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(named(document)))
    begin, end = document.places[path].entry
    new = patched(document, patch_of(path, None))
    above = document.text[:begin].rstrip(" ").split("\n")
    comments = [line.strip() for line in above if line.strip().startswith("#")]
    gone = left_of(document, (begin, end))
    kept = [text for text in gone if text not in comments]
    assert_in_order(kept, new)
    assert all(text not in new for at, text in document.tokens if begin <= at < end)
    # The comment right above it goes as well, and no other.
    lost = [text for text in gone if text not in new]
    assert lost == comments[len(comments) - len(lost) :] if lost else True


@tries(150)
@given(document=documents(), data=st.data())
def test_a_list_changes_and_the_entries_that_stay_keep_their_text(document: Document, data: st.DataObject) -> None:
    plain = parse(document.text.encode())
    lists = [path for path in named(document) if isinstance(within(plain, path), list)]
    assume(lists)
    path = data.draw(st.sampled_from(lists))
    old = within(plain, path)
    stay = sorted(data.draw(st.sets(st.integers(0, len(old) - 1)))) if old else []
    wanted = [old[number] for number in stay]
    for value in data.draw(st.lists(VALUES, max_size=2)):
        wanted.insert(data.draw(st.integers(0, len(wanted))), value)
    new = patched(document, patch_of(path, wanted))
    assert_in_order(left_of(document, document.places[path].entry), new)
    distinct = len({identity(value) for value in (*old, *wanted)}) == len(
        {*map(identity, old)} | {*map(identity, wanted)}
    )
    if stay and distinct and len({*map(identity, old)}) == len(old):
        spans = [document.places[*path, number].value for number in stay]
        inside = [text for at, text in document.tokens if any(begin <= at < end for begin, end in spans)]
        assert all(text in new for text in inside)


@tries(150)
@given(document=documents(), data=st.data())
def test_many_changes_at_once_touch_no_other_line(document: Document, data: st.DataObject) -> None:
    plain = parse(document.text.encode())
    paths = data.draw(st.sets(st.sampled_from(named(document)), min_size=1, max_size=4))
    paths = {path for path in paths if not any(path[:n] in paths for n in range(len(path)))}
    patch: dict[str, Any] = {}
    for path in paths:
        inner = patch
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = data.draw(st.one_of(st.none(), VALUES))
    new = patched(document, patch)
    assert plain == parse(document.text.encode())
    spans = [document.places[path].entry for path in paths]
    comments = [text for text in left_of(document, *spans) if text.startswith("#") and text in new]
    assert_in_order([text for text in left_of(document, *spans) if not text.startswith("#") or text in comments], new)


@tries(200)
@given(document=documents(anchors=True), data=st.data())
def test_what_is_shared_changes_where_it_is_named_alone(document: Document, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(named(document)))
    patched(document, patch_of(path, data.draw(st.one_of(st.none(), VALUES))))
