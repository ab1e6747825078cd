"""Cross-references in docstrings (:class:`Name`, :func:`~mesoface.captures.load.load_capture`) as links.

An extension of griffe, which mkdocs.yml refers to. A name is resolved in the scope of its docstring, as in
Python. Names without a page on the site remain code.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data):`(~?)([\w.]+)`")


class Roles(griffe.Extension):
    """Rewrites the docstrings of a package after it is loaded."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Rewrite the docstrings of all objects in the package."""
        _rewrite(pkg, pkg)


def _rewrite(thing: griffe.Object, package: griffe.Module) -> None:
    if thing.docstring is not None:
        thing.docstring.value = _ROLE.sub(lambda role: _link(role, thing, package), thing.docstring.value)
    for member in thing.members.values():
        if not member.is_alias:
            _rewrite(member, package)  # type: ignore[arg-type]


def _link(role: re.Match[str], thing: griffe.Object, package: griffe.Module) -> str:
    short, name = bool(role[1]), role[2]
    shown = name.rpartition(".")[2] if short else name.lstrip(".")
    try:
        path = f"{package.path}{name}" if name.startswith(".") else _resolved(name, thing)
    except griffe.NameResolutionError:
        return f"`{shown}`"
    return f'<autoref identifier="{path}" optional><code>{shown}</code></autoref>'


def _resolved(name: str, thing: griffe.Object) -> str:
    """The full path of a name in the scope of ``thing``."""
    if name.startswith("mesoface."):
        return name
    first, _, rest = name.partition(".")
    path = thing.resolve(first)
    return f"{path}.{rest}" if rest else path
