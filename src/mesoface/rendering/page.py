"""Self-contained HTML pages: one frame, one style, one content security policy; they make no network request.

Templates elsewhere extend ``frame.html`` and import ``blocks.html`` from ``rendering/templates``. All text is
escaped.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mesoface.files.images import data_uri

TEMPLATES = Path(__file__).parent / "templates"
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src 'unsafe-inline'"


def render(template: Path, **context: Any) -> str:
    """A page.

    Args:
        template: a file beside which other templates may lie.
        **context: what its head names. ``scene``, HTML from :func:`.turnable.turnable`, allows its script.
    """
    context = {"policy": _policy(bool(context.get("scene"))), "footer": "", **context}
    return _environment(template.parent).get_template(template.name).render(context)


def fragment(name: str, **context: Any) -> Markup:
    """A part of a page, from a template in ``rendering/templates``."""
    return Markup(_environment(TEMPLATES).get_template(name).render(context))


@cache
def turnable_script() -> Markup:
    """The script of the 3D view."""
    return Markup("\n" + (files("mesoface") / "assets" / "turnable.js").read_text(encoding="utf-8"))


def _policy(scripted: bool) -> str:
    """Nothing is loaded; of scripts the view's own, which is known by its hash."""
    if not scripted:
        return _POLICY
    digest = b64encode(sha256(turnable_script().encode()).digest()).decode("ascii")
    return f"{_POLICY}; script-src 'sha256-{digest}'"


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    return environment
