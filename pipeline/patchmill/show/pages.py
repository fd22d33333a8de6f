"""An executed notebook as one HTML page: it loads nothing, and nothing in it runs."""

from __future__ import annotations

from typing import Any

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; base-uri 'none'; form-action 'none'"
)
"""What a browser shall allow a page: to show what stands in it."""


def notebook_html(path: str) -> str:
    """A notebook as one HTML file with its pictures in it.

    What acts is taken out of its outputs, and the page forbids the browser to run or load anything, so that neither an
    image's name nor a library's fancy can do more than be seen.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    notebook = nbformat.read(path, as_version=4)
    _clean(notebook)
    exporter = HTMLExporter(config=Config({"HTMLExporter": {"embed_images": True}}))
    exporter.mathjax_url = ""
    exporter.require_js_url = ""
    exporter.jquery_url = ""
    exporter.mermaid_js_url = ""
    body, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": _name(path)}})
    meta = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    return str(body).replace("<head>", f"<head>{meta}", 1)


def _clean(notebook: Any) -> None:
    from patchmill.show.cleaning import looks_html, notebook_outputs

    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = looks_html(cell.source) if "<" in cell.source else cell.source
            cell.pop("attachments", None)
        for output in cell.get("outputs", []):
            if "data" in output:
                output["data"] = notebook_outputs(output["data"])


def _name(path: str) -> str:
    import os

    return os.path.splitext(os.path.basename(path))[0]
