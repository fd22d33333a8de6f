"""An executed notebook as one HTML page: it loads nothing, and nothing in it runs."""

from __future__ import annotations

import os
import re
from typing import Any

from patchmill.show.sparing import without_grammars

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'"
)
"""What a browser shall allow a page: to show what stands in it."""


def notebook_html(path: str) -> str:
    """A notebook as one HTML file with its pictures in it.

    What acts is taken out of its outputs, and the page forbids the browser to run or load anything, so that neither an
    image's name nor a library's fancy can do more than be seen.
    """
    with without_grammars():
        import nbformat
        from jinja2 import pass_context
        from nbconvert import HTMLExporter
        from traitlets.config import Config

    from patchmill.show.cleaning import looks_html

    class Exporter(HTMLExporter):
        """One that cleans what Markdown became."""

        @pass_context
        def markdown2html(self, context: Any, source: str) -> str:
            return looks_html(str(super().markdown2html(context, source)))

    notebook = nbformat.read(path, as_version=4)
    _clean(notebook)
    config = Config({"HTMLExporter": {"embed_images": True}})
    exporter = Exporter(config=config)  # type: ignore[no-untyped-call]
    exporter.mathjax_url = ""
    exporter.require_js_url = ""
    exporter.jquery_url = ""
    body, _ = exporter.from_notebook_node(
        notebook, resources={"metadata": {"name": os.path.splitext(os.path.basename(path))[0]}}
    )
    # What outputs brought is cleaned, and what cells say is escaped: these are nbconvert's own, which would not run.
    body = re.sub(r"<script\b.*?</script\s*>", "", str(body), flags=re.DOTALL | re.IGNORECASE)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    return body.replace("<head>", f"<head>{meta}", 1)


def _clean(notebook: Any) -> None:
    from patchmill.show.cleaning import notebook_outputs

    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "data" in output:
                output["data"] = notebook_outputs(output["data"])
