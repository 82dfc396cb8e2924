"""Audio of a file or of standard input, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.transcribe.inputs import open_audio

# How files of audio begin, which is no raw PCM.
_CONTAINERS = {
    b"RIFF": "a wav file",
    b"fLaC": "a flac file",
    b"OggS": "an ogg file",
    b"ID3": "an mp3 file",
    b"FORM": "an aiff file",
    b".snd": "an au file",
}


class Piece(NamedTuple):
    """Samples `(n,)` and how many there are a second."""

    samples: Tensor
    sampling_rate: int


def file_pieces(path: Path, seconds: float = 0.05) -> Iterator[Piece]:
    """A file of audio, never more of it in memory than a piece.

    Args:
      path: wav, flac, or whatever else soundfile reads; of one channel.
      seconds: length of a piece.

    Raises:
      DataError, MissingDependencyError: see `open_audio`.
    """
    with open_audio(path) as file:
        size = max(1, round(seconds * file.samplerate))
        while True:
            samples = file.read(size, dtype="float32")
            if not len(samples):
                return
            yield Piece(torch.from_numpy(samples), file.samplerate)


def pcm_pieces(source: BinaryIO, sampling_rate: int, seconds: float = 0.05) -> Iterator[Piece]:
    """Raw PCM: 16 bits, signed, little-endian, one channel.

    A piece is what there is, so that nothing waits; half a sample waits for its other half.

    Args:
      source: a pipe or a file.
      sampling_rate: Hz.
      seconds: longest piece.

    Raises:
      DataError: it begins as a wav, flac... file does; or, after all pieces, it ends amid a sample.

    >>> import io
    >>> [piece.samples.tolist() for piece in pcm_pieces(io.BytesIO(b"\\x01\\x00\\xff\\xff"), 16000)]
    [[1, -1]]
    """
    size = 2 * max(1, round(seconds * sampling_rate))
    read = getattr(source, "read1", source.read)
    waiting, begun = b"", False
    while True:
        block = read(size)
        if not block:
            break
        waiting += block
        if not begun and len(waiting) < 4:
            continue
        if not begun:
            _refuse_containers(waiting)
            begun = True
        whole = len(waiting) // 2 * 2
        samples = np.frombuffer(waiting[:whole], dtype="<i2").astype(np.int16)
        waiting = waiting[whole:]
        if len(samples):
            yield Piece(torch.from_numpy(samples), sampling_rate)
    if len(waiting) >= 2:  # all of it, where there is but one sample
        yield Piece(torch.from_numpy(np.frombuffer(waiting[:2], dtype="<i2").copy()), sampling_rate)
    if len(waiting) % 2:
        raise DataError(
            "standard input ends with half a sample (an odd number of bytes); is it 16-bit PCM?"
        )


def _refuse_containers(begin: bytes) -> None:
    for magic, name in _CONTAINERS.items():
        if begin.startswith(magic):
            raise DataError(
                f"standard input is {name}, not raw PCM; give the file's name instead of -, or "
                "convert it: ffmpeg -i FILE -f s16le -ac 1 -ar 16000 -"
            )
