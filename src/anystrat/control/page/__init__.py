"""The web page of a running service: one file, that asks nothing but the control API for anything."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files


def page() -> tuple[str, str]:
    """The page, and the content security policy that lets its own style and script be used, and nothing else."""
    here = files("anystrat.control.page")
    style = here.joinpath("control.css").read_text(encoding="utf-8")
    script = here.joinpath("control.js").read_text(encoding="utf-8")
    text = here.joinpath("control.html").read_text(encoding="utf-8")
    text = text.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
