"""Makes `import k2`, `import _k2` and k2's submodules find this package."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from wfst_entropy.fsa.errors import FsaRuntimeError


def namespace(package: str, name: str, members: dict[str, object], doc: str) -> ModuleType:
    """A module of k2 that gathers names which stand in several files here."""
    module = ModuleType(f"{package}.{name}", doc)
    module.__dict__.update(members)
    return module


class Package(ModuleType):
    """A package in which a function keeps its name although a submodule has the same.

    k2 has a function `ctc_loss` in a module `ctc_loss`; importing the module by the alias k2 would
    bind it over the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and callable(self.__dict__.get(name))):
            super().__setattr__(name, value)


class SubmoduleFinder(MetaPathFinder, Loader):
    """Makes `import k2.ragged` find the module of that name, once `package` stands as k2.

    For those who write `sys.modules["k2"] = k2` themselves: Python would look into the package's
    folder, and load a second copy of the file there.
    """

    def __init__(self, package: ModuleType, modules: Mapping[str, ModuleType]) -> None:
        self._package = package
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for `k2.NAME`, if k2 is our package and has such a module."""
        parent, _, name = fullname.partition(".")
        if parent != "k2" or sys.modules.get("k2") is not self._package:
            return None
        return ModuleSpec(fullname, self) if name in self._modules else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module that is there already."""
        return self._modules[spec.name.partition(".")[2]]

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: it has been executed."""


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
