"""What there is in files of frame scores, features and audio."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wfst_entropy.asr.data.errors import DataError, MissingDependencyError
from wfst_entropy.fsa.errors import FsaFormatError

MATRIX_ENDINGS = (".npy", ".safetensors", ".pt")
SAMPLING_RATE = 16000


class Waveform(NamedTuple):
    """Samples between -1 and 1, `(num_samples,)` float32, `SAMPLING_RATE` a second."""

    samples: Tensor


class Matrix(NamedTuple):
    """Frame scores `(T, C)` or features `(T, F)`, float32."""

    values: Tensor


class Utterance(NamedTuple):
    """One utterance of a file, or why it cannot be read."""

    name: str
    content: Waveform | Matrix | None
    problem: str = ""


def read_utterances(paths: Sequence[Path]) -> Iterator[Utterance]:
    """The utterances of files, in order; what cannot be read comes with a `problem`.

    Names are those of the files without folder and ending (whole paths where two files would
    have the same), or the keys of a dict.

    Args:
      paths: `.npy` is one matrix; `.safetensors` a dict of them; `.pt` either; all others are
        audio.
    """
    stems = [path.stem for path in paths]
    for path in paths:
        alone = stems.count(path.stem) == 1
        name = path.stem if alone else str(path)
        try:
            if path.suffix not in MATRIX_ENDINGS:
                yield Utterance(name, read_audio(path))
                continue
            found = _READERS[path.suffix](path)
        except (DataError, FsaFormatError, OSError) as error:
            yield Utterance(name, None, _about(path, error))
            continue
        tables = found if isinstance(found, dict) else {name: found}
        for key, values in tables.items():
            where = f"{path}: {key!r}" if isinstance(found, dict) else str(path)
            try:
                yield Utterance(str(key), matrix(values, where))
            except FsaFormatError as error:
                yield Utterance(str(key), None, str(error))


def _about(path: Path, error: Exception) -> str:
    text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return text if str(path) in text else f"{path}: {text}"


def matrix(values: Any, where: str) -> Matrix:
    """A matrix of frames in float32.

    Raises:
      FsaFormatError: not a matrix of numbers.

    >>> matrix(np.zeros((2, 3)), "a.npy").values.dtype
    torch.float32
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        values = torch.from_numpy(np.ascontiguousarray(values.astype(np.float32)))
    if not isinstance(values, Tensor) or values.dim() != 2 or values.is_complex():
        shape = tuple(values.shape) if hasattr(values, "shape") else type(values).__name__
        raise FsaFormatError(
            f"{where}: needs a matrix (frames, symbols) of numbers, got {shape}; write one matrix "
            "for each utterance"
        )
    return Matrix(values.detach().to("cpu", torch.float32))


def _read_npy(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FsaFormatError(f"{path}: is no array of numpy.save: {error}") from error


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: reading it needs the package safetensors: pip install 'wfst-entropy[recipes]'"
        ) from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise FsaFormatError(f"{path}: is damaged or no safetensors file: {error}") from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FsaFormatError(
            f"{path}: is no tensor, nor a dict of them, of torch.save: {cause}"
        ) from error


_READERS = {".npy": _read_npy, ".safetensors": _read_safetensors, ".pt": _read_torch}


@contextlib.contextmanager
def open_audio(path: Path) -> Iterator[Any]:
    """A file of one channel as a `soundfile.SoundFile`; what its library says becomes a DataError.

    Raises:
      DataError: it is no audio, is damaged, or has several channels.
      MissingDependencyError: the packages soundfile and soxr are missing.
    """
    try:
        import soundfile
        import soxr  # noqa: F401  (whoever reads audio resamples it)
    except (ImportError, OSError) as error:  # OSError: its library of C is missing
        raise MissingDependencyError(
            f"{path}: reading audio needs soundfile and soxr: pip install 'wfst-entropy[recipes]'"
        ) from error
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with soundfile.SoundFile(path) as file:
            if file.channels != 1:
                raise DataError(
                    f"{path}: has {file.channels} channels; choose one: sox {path} NEW.wav remix 1"
                )
            yield file
    except soundfile.SoundFileError as error:
        raise DataError(
            f"{path}: cannot be read as audio: {error}; frame scores and features end in "
            f"{', '.join(MATRIX_ENDINGS)}"
        ) from error


def read_audio(path: Path) -> Waveform:
    """One channel of audio, resampled to `SAMPLING_RATE`; raises as `open_audio`."""
    with open_audio(path) as file:
        samples, rate = file.read(dtype="float32"), file.samplerate
    if rate != SAMPLING_RATE:
        import soxr

        samples = soxr.resample(samples, rate, SAMPLING_RATE)
    return Waveform(torch.from_numpy(np.ascontiguousarray(samples)))
