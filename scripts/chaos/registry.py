"""Finds faults, sources of load and rules by their folder, so that a new one is a new file."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def members(package: ModuleType, kind: type[T]) -> list[T]:
    """The objects of this kind in the variables of the folder's modules, in the modules' order.

    A variable holds one object, or a tuple of them.
    """
    found: dict[int, T] = {}
    for each in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        module = importlib.import_module(f"{package.__name__}.{each.name}")
        for value in vars(module).values():
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, kind):
                    found[id(one)] = one
    return list(found.values())
