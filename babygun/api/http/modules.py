"""Puts the page's modules into one script: a single answer compresses better than many.

The files stay modules, as people and tests read them. Here each becomes a function that returns
what the module exports, after those of the modules that it imports::

    import { h } from "./dom.js";          const $badge = (() => {
    export const badge = () => h("b");     const { h } = $dom;
                                           const badge = () => h("b");
                                           return { badge };
                                           })();
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

_NAMES = r"\s*[\w$]+(?:\s*,\s*[\w$]+)*,?\s*"
_IMPORT = re.compile(
    rf'^import (?:\* as (?P<whole>\w+)|{{(?P<names>{_NAMES})}}) from "\./(?P<file>[\w.]+)";\n',
    re.MULTILINE,
)
# What is exported is never changed: a function gives the value that it had once.
_EXPORT = re.compile(r"^export (?=(?:const|class|(?:async )?function) ([\w$]+))", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def bundle(modules: Mapping[str, str], start: str) -> str:
    """``modules``: their texts by file name. ``start``: the module that imports all others.

    Raises ValueError for an import or export in another form, and for imports in a circle.
    """
    made: list[str] = []
    begun: dict[str, bool] = {}  # whether it is made, too

    def add(file: str) -> None:
        if begun.get(file) is False:
            raise ValueError(f"{file} imports itself, by way of others")
        if file in begun:
            return
        begun[file] = False
        for found in _IMPORT.finditer(modules[file]):
            add(found["file"])
        made.append(_function(file, modules[file]))
        begun[file] = True

    add(start)
    return "\n".join(made) + "\n"


def _function(file: str, text: str) -> str:
    body = _EXPORT.sub("", _IMPORT.sub(_binding, text))
    if left := _OTHER.search(body):
        raise ValueError(f"{file}: not understood: {left[0]}")
    names = ", ".join(_EXPORT.findall(text))
    return f"const {_name(file)} = (() => {{\n{body.strip()}\nreturn {{ {names} }};\n}})();"


def _binding(found: re.Match[str]) -> str:
    if found["whole"]:
        return f"const {found['whole']} = {_name(found['file'])};\n"
    return f"const {{{found['names']}}} = {_name(found['file'])};\n"


def _name(file: str) -> str:
    return f"${PurePath(file).stem}"
