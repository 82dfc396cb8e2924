"""Options are dataclasses: command-line flags, ``config.yaml`` and help text come from one class.

A dataclass field becomes a flag (``max_duration`` -> ``--max-duration``) and a key of the section
of ``config.yaml`` named after the class (``ModelOptions`` -> ``model``).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from wfst_entropy.asr.yaml_file import YamlError, read_yaml
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaError

T = TypeVar("T")

# What begins with a negative number, but is not all that argparse itself takes for one.
_NEGATIVE = re.compile(r"-(?!(\d+|\d*\.\d+)$)(\.?\d.*|inf|nan)", re.IGNORECASE)
_TRUE = ("true", "1", "yes", "y", "t")
_FALSE = ("false", "0", "no", "n", "f")


class OptionError(FsaError, ValueError):
    """An option has an unusable value, or a configuration file does not fit its options."""


def option(default: Any, help: str, *, flag: bool = True) -> Any:
    """A dataclass field with help text.

    Args:
      default: The default value (immutable).
      help: What the option means, with its unit.
      flag: False for a value that the run finds out by itself (it is kept in ``config.yaml`` only).

    Returns:
      The field, for use in a dataclass body.

    >>> @dataclasses.dataclass
    ... class ToyOptions:
    ...     max_duration: float = option(200.0, "Seconds of audio in one batch.")
    >>> ToyOptions().max_duration
    200.0
    """
    return dataclasses.field(default=default, metadata={"help": help, "flag": flag})


def str2bool(text: str | bool) -> bool:
    """Read a yes or no: ``true|1|yes|y|t`` or ``false|0|no|n|f``, in any case.

    Raises:
      argparse.ArgumentTypeError: for anything else.

    >>> str2bool("1"), str2bool("False")
    (True, False)
    """
    word = str(text).lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise argparse.ArgumentTypeError(f"expected true or false (or 1, 0), got {text!r}")


def flag_name(field_name: str) -> str:
    """The flag of a field.

    >>> flag_name("max_duration")
    '--max-duration'
    """
    return "--" + field_name.replace("_", "-")


def section_name(options_type: type) -> str:
    """The section of ``config.yaml`` that holds a class of options.

    >>> section_name(type("ModelOptions", (), {}))
    'model'
    """
    return options_type.__name__.removesuffix("Options").lower()


def add_arguments(
    parser: argparse.ArgumentParser, options_type: type, skip: Collection[str] = ()
) -> None:
    """Add one flag per field of a dataclass, in a group named after its section.

    Booleans take a value (``--use-bf16 true``), a ``Literal`` becomes choices, ``X | None`` also
    takes ``none``, and ``tuple[X, ...]`` takes several values.

    Args:
      parser: The parser to extend.
      options_type: A dataclass whose fields are bool, int, float, str, Path, Literal, an optional
        one of these, or a tuple of these.
      skip: Fields that get no flag here.

    Raises:
      OptionError: when a field's type is none of these, or a flag exists already.

    >>> parser = make_parser("A toy.")
    >>> @dataclasses.dataclass
    ... class ToyOptions:
    ...     use_bf16: bool = option(False, "Compute in bfloat16.")
    >>> add_arguments(parser, ToyOptions)
    >>> parser.parse_args(["--use-bf16", "1"]).use_bf16
    True
    """
    group = parser.add_argument_group(f"{section_name(options_type)} options")
    hints = typing.get_type_hints(options_type)
    for field in dataclasses.fields(options_type):
        if not field.metadata.get("flag", True) or field.name in skip:
            continue
        keywords = _argparse_keywords(hints[field.name], f"{options_type.__name__}.{field.name}")
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            keywords["required"] = True
        else:
            keywords["default"] = _default(field)
        # argparse expands %-formats in help texts
        text = field.metadata.get("help", "").replace("%", "%%")
        try:
            group.add_argument(flag_name(field.name), dest=field.name, help=text, **keywords)
        except argparse.ArgumentError as error:
            raise OptionError(
                f"{options_type.__name__}.{field.name}: the flag {flag_name(field.name)} is taken "
                f"by another class of options; rename one of the two fields ({error})"
            ) from error


class _Parser(argparse.ArgumentParser):
    """Takes ``--scale -1e-3`` and ``--sizes -1,16``, which argparse would hold for flags."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        words: list[str] = []
        for word in sys.argv[1:] if args is None else args:
            before = words[-1] if words else ""
            if _NEGATIVE.fullmatch(word) and before.startswith("--") and "=" not in before:
                words[-1] = f"{before}={word}"
            else:
                words.append(word)
        return super().parse_known_args(words, namespace)


def make_parser(description: str, *options_types: type) -> argparse.ArgumentParser:
    """A parser with the flags of the given dataclasses; shows defaults, takes no abbreviations.

    >>> make_parser("A toy.").allow_abbrev
    False
    """
    parser = _Parser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    for options_type in options_types:
        add_arguments(parser, options_type)
    return parser


def from_args(args: argparse.Namespace, options_type: type[T], **values: Any) -> T:
    """Build the dataclass from parsed flags.

    Args:
      args: What ``parser.parse_args()`` returned.
      options_type: The dataclass whose flags were added.
      **values: Values of fields that are not flags, or that overrule them.

    Returns:
      An instance of ``options_type``.

    Raises:
      OptionError: when the class itself refuses a value.

    >>> @dataclasses.dataclass
    ... class ToyOptions:
    ...     seed: int = option(42, "Seed of everything random.")
    >>> from_args(make_parser("", ToyOptions).parse_args(["--seed", "7"]), ToyOptions).seed
    7
    """
    fields = [field.name for field in dataclasses.fields(options_type)]  # type: ignore[arg-type]
    found = {name: getattr(args, name) for name in fields if hasattr(args, name)}
    found = {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}
    return options_type(**(found | values))


def differences(before: T, now: T) -> list[str]:
    """The fields in which two instances of a dataclass differ, as "name old -> new".

    >>> @dataclasses.dataclass
    ... class ToyOptions:
    ...     seed: int = option(42, "Seed.")
    >>> differences(ToyOptions(), ToyOptions(7))
    ['seed 42 -> 7']
    """
    names = [field.name for field in dataclasses.fields(before)]  # type: ignore[arg-type]
    pairs = [(name, getattr(before, name), getattr(now, name)) for name in names]
    return [f"{name} {old} -> {new}" for name, old, new in pairs if old != new]


def save_config(path: str | os.PathLike[str], *options: Any) -> None:
    """Write dataclasses to a YAML file, one section each; the file appears whole or not at all.

    Args:
      path: The file, usually ``exp_dir/config.yaml``.
      *options: Instances of dataclasses.

    >>> import tempfile
    >>> @dataclasses.dataclass
    ... class ToyOptions:
    ...     seed: int = option(42, "Seed.")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_config(folder + "/config.yaml", ToyOptions(7))
    ...     load_config(folder + "/config.yaml", ToyOptions)[0].seed
    7
    """
    import yaml  # not at the top: frame scores are decoded without it

    sections = {
        section_name(type(section)): {
            field.name: _plain(getattr(section, field.name))
            for field in dataclasses.fields(section)
        }
        for section in options
    }
    text = yaml.safe_dump(sections, sort_keys=False, allow_unicode=True)
    with replacing(Path(path)) as file:
        file.write(text.encode("utf-8"))


def load_config(
    path: str | os.PathLike[str], *options_types: type, may_lack: Sequence[type] = ()
) -> tuple[Any, ...]:
    """Read dataclasses back from a YAML file; sections that are not asked for are left alone.

    Args:
      path: A file that :func:`save_config` wrote (it may have been edited by hand).
      *options_types: The dataclasses to read, in the order of the result.
      may_lack: Those whose section may be missing; they then have their defaults.

    Returns:
      One instance per class. A key that is missing takes its default.

    Raises:
      OptionError: when the file cannot be read, a section is missing, or a key is unknown, is there
        twice or has a value of the wrong type.
    """
    try:
        content = read_yaml(path)
    except YamlError as error:
        raise OptionError(str(error)) from error
    if not isinstance(content, dict):
        raise OptionError(f"{path}: needs sections such as 'model:', got {type(content).__name__}")
    for options_type in may_lack:
        content.setdefault(section_name(options_type), {})
    return tuple(_from_section(path, content, options_type) for options_type in options_types)


def _from_section(path: str | os.PathLike[str], content: dict[str, Any], options_type: type) -> Any:
    section = section_name(options_type)
    values = content.get(section)
    if not isinstance(values, dict):
        raise OptionError(
            f"{path}: has no section '{section}:'; it has {sorted(map(str, content))}"
        )
    names = [field.name for field in dataclasses.fields(options_type)]
    unknown = [str(key) for key in values if key not in names]
    if unknown:
        raise OptionError(
            f"{path}: unknown key(s) {', '.join(unknown)} in section '{section}:'; "
            f"known are {', '.join(names)}"
        )
    hints = typing.get_type_hints(options_type)
    converted = {
        name: _convert(value, hints[name], f"{path}: {section}.{name}")
        for name, value in values.items()
    }
    try:
        return options_type(**converted)
    except (TypeError, OptionError) as error:
        raise OptionError(f"{path}: section '{section}:': {error}") from error


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _split_optional(hint: Any) -> tuple[Any, bool]:
    """``X | None`` -> (X, True), anything else -> (itself, False)."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        if len(members) == 1:
            return members[0], True
    return hint, False


def _argparse_keywords(hint: Any, where: str) -> dict[str, Any]:
    hint, optional = _split_optional(hint)
    if typing.get_origin(hint) is tuple:
        element = _argparse_keywords(typing.get_args(hint)[0], where)
        return element | {"nargs": "+"}
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        return {"choices": choices, "type": type(choices[0])}
    if hint is bool and not optional:
        return {"type": str2bool, "metavar": "{true,false}"}
    if hint is bool:
        return {"type": _none_or(str2bool), "metavar": "{true,false,none}"}
    if hint not in (int, float, str, Path):
        raise OptionError(
            f"{where}: the type {hint} cannot become a flag; use bool, int, float, str, Path, "
            "Literal, an optional one of these, or a tuple of these"
        )
    reader = _none_or(hint) if optional else hint
    return {"type": reader, "metavar": hint.__name__.upper()}


def _none_or(reader: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        return None if text.lower() == "none" else reader(text)

    read.__name__ = f"{reader.__name__} or none"  # argparse shows it in "invalid ... value"
    return read


def _plain(value: Any) -> Any:
    """The value in types that YAML has."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _convert(value: Any, hint: Any, where: str) -> Any:
    """A value read from YAML, as the type that the field declares."""
    hint, optional = _split_optional(hint)
    if value is None and optional:
        return None
    if typing.get_origin(hint) is tuple:
        if isinstance(value, list):
            return tuple(_convert(item, typing.get_args(hint)[0], where) for item in value)
        raise OptionError(f"{where}: needs a list, got {value!r}")
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if value in choices:
            return value
        raise OptionError(f"{where}: needs one of {list(choices)}, got {value!r}")
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # a list of numbers in one string may have one number
    if (
        hint is float and isinstance(value, str) and _is_number(value)
    ):  # YAML reads 1e-3 as a string
        return float(value)
    if isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    raise OptionError(f"{where}: needs {hint.__name__}, got {value!r}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
