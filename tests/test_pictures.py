"""The pictures in the docs show what commands print now."""

from __future__ import annotations

import pytest

from docs import pictures

pytestmark = pytest.mark.servers


def test_every_picture_says_what_its_commands_print() -> None:
    shown = dict(pictures.screens())
    assert {path.name for path in pictures.FOLDER.iterdir()} == set(shown)
    for name, screen in shown.items():
        svg = (pictures.FOLDER / name).read_text("utf-8")
        assert pictures.words_of(svg) == pictures.words_in(screen), (
            "the picture is old: python -m docs.pictures makes it anew"
        )
        assert "url(http" not in svg, "a picture loads nothing"


def test_what_a_picture_says_is_what_it_was_drawn_from() -> None:
    screen = "\x1b[32m+ a <view> & 注文\x1b[0m  12.5 s\n\nBuilt in 0.1 s"
    assert pictures.words_of(pictures.svg_of(screen)) == ["+a<view>&注文", "Builtin"]
