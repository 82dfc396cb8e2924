"""Ctrl-C as the end of audio."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from wfst_entropy.asr.streaming.audio_pieces import Piece


@contextmanager
def until_ctrl_c(pieces: Iterable[Piece]) -> Iterator[Iterator[Piece]]:
    """Pieces of audio in which Ctrl-C strikes while the next one is waited for, and only then.

    Wherever else it comes - words are being found, or printed - the piece after that is what raises
    KeyboardInterrupt, so that nothing is lost that has been heard. A second Ctrl-C raises at once.
    A process that ignores Ctrl-C, or has a handler of its own, keeps that.

    Args:
      pieces: the audio; they are not left waiting by a Ctrl-C that came before.

    >>> import torch
    >>> with until_ctrl_c([Piece(torch.zeros(8), 16000)] * 3) as audio:
    ...     try:
    ...         for piece in audio:
    ...             signal.raise_signal(signal.SIGINT)
    ...             print("a piece")
    ...     except KeyboardInterrupt:
    ...         print("no more")
    a piece
    no more
    """
    pressed = waiting = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        again, pressed = pressed, True
        if waiting or again:
            raise KeyboardInterrupt

    def audio() -> Iterator[Piece]:
        nonlocal waiting
        rest = iter(pieces)
        while True:
            waiting = True  # before the question whether it came: it may come in between
            try:
                if pressed:
                    raise KeyboardInterrupt
                piece = next(rest, None)
            finally:
                waiting = False
            if piece is None:
                return
            yield piece

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield iter(pieces)
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield audio()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
