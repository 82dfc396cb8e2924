"""Makes `import k2`, `import _k2` and k2's submodules find this package."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from types import ModuleType

from wfst_entropy.fsa.errors import FsaRuntimeError


def namespace(package: str, name: str, members: dict[str, object], doc: str) -> ModuleType:
    """A module of k2 that gathers names which stand in several files here."""
    module = ModuleType(f"{package}.{name}", doc)
    module.__dict__.update(members)
    return module


def register(
    package: ModuleType, low_level: ModuleType, modules: Mapping[str, ModuleType], replace: bool
) -> None:
    """Puts `package` into `sys.modules` as k2, `modules` as its modules, `low_level` as _k2.

    Args:
      package: the module that is to be k2.
      low_level: the module that is to be _k2.
      modules: by their names within k2.
      replace: whether a k2 that is imported, or installed, may be hidden.

    Raises:
      FsaRuntimeError: another k2 is there, and `replace` is false.
    """
    there = sys.modules.get("k2")
    if there is package:
        return
    if not replace and (there is not None or importlib.util.find_spec("k2") is not None):
        raise FsaRuntimeError(
            "install: another k2 is there; use install(replace=True) to hide it from this process, "
            "or `from wfst_entropy.compat import k2` without installing."
        )
    for name in [n for n in sys.modules if n.split(".")[0] in ("k2", "_k2")]:
        del sys.modules[name]
    sys.modules["k2"], sys.modules["_k2"] = package, low_level
    # Without this, `import k2.ragged` would load a second copy from the package's folder.
    sys.modules.update({f"k2.{name}": module for name, module in modules.items()})
