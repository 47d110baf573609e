"""Captions and words of many scripts and forms, for what turns texts into ids."""

from __future__ import annotations

import numpy as np

CAPTIONS = [
    "a small red circle at the top left",
    "Two dogs, one cat & 3 birds; they're running!",
    "a photo of the lower town at night, photographed from the tower",
    "naïve café — déjà vu",
    "плывёт красная лодка",
    "赤い車と青い空",
    "سيارة حمراء",
    "ελληνικά γράμματα",
    "लाल गाड़ी",
    "빨간 자동차",
    "emoji 😀😀 🚗🏽 and flags 🇩🇪",
    "½ cup, 2³ and Ⅷ, 12:45pm",
]
WORDS_MIXED = [
    "I'll", "you've", "it's", "O'Brien's", "''quoted''", "_under_score_", "C++", "A.B.C", "x=y", "tab\there",
    "new\nline", "  spaces  ", "ÀÉÎ", "ﬁne", "e\u0301", "ß", "ǅ", "Ⅻ", "²", "٣", "๓", "…", "—", "№5", "100%",
    "don't!'s", "'s", "'S", "!?!", "<|endoftext|>", "a<|startoftext|>b", "\uff11\uff12", "日本語2024年",
    "łódź", "a\u00a0b",
    "\u200bzero", "👩‍👩‍👧", "hello-world", "end.", "(paren)", "#tag", "@name", "~tilde", "`tick`", "|pipe|",
]  # fmt: skip


def texts(count: int) -> list[str]:
    """Strings of many scripts, in which the ones above are mixed."""
    draw = np.random.default_rng(0)
    pieces = [*CAPTIONS, *WORDS_MIXED, *" ".join(CAPTIONS).split()]
    return [" ".join(draw.choice(pieces, draw.integers(1, 5))) for _ in range(count)]
