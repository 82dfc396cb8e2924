"""YAML files that people write by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from wfst_entropy.fsa.errors import FsaError


class YamlError(FsaError, ValueError):
    """A file is missing or is no YAML, or gives a name twice; the message has the line."""


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """Read a YAML file in which no mapping has a key twice.

    YAML's own rule is that keys are unique, but PyYAML silently takes the last one. Keys that come
    by ``<<`` from another mapping may be given again.

    Args:
      path: The file, UTF-8.

    Returns:
      Dicts, lists, strings and numbers.

    Raises:
      YamlError: when it cannot be read; with the line.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.yaml").write_text("seed: 1\\nseed: 2\\n")
    ...     try:
    ...         read_yaml(folder + "/a.yaml")
    ...     except YamlError as error:
    ...         print(str(error).replace(folder, ""))
    /a.yaml:2: 'seed' is given twice, line 1 has it too; remove one of them
    """
    import yaml  # not at the top: frame scores are decoded without it

    try:
        text = Path(path).read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except OSError as error:
        raise YamlError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise YamlError(f"{path}: cannot be read as YAML ({error})") from error
    _refuse_duplicates(path, root)
    return content


def _refuse_duplicates(path: str | os.PathLike[str], root: Any) -> None:
    """Look through the nodes of a file, before ``<<`` is resolved."""
    import yaml

    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias of what was there before
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                waiting.append(value)
                if not isinstance(key, yaml.ScalarNode):
                    continue
                line = key.start_mark.line + 1
                name = (key.tag, key.value)
                if name in lines:
                    raise YamlError(
                        f"{path}:{line}: {key.value!r} is given twice, line {lines[name]} has it "
                        "too; remove one of them"
                    )
                lines[name] = line
