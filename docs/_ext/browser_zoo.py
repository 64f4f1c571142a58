"""The page where the zoo runs in the reader's browser: its entries, and the script that the page alone loads."""

import json

from repository_pages import DOCS


def entries():
    """The names of the entries that tools/browser_zoo.py has converted."""
    path = DOCS / "_browser" / "models" / "index.json"
    return [entry["name"] for entry in json.loads(path.read_text("utf-8"))] if path.is_file() else []


def _files(app, pagename, templatename, context, doctree):
    if pagename == "browser":
        app.add_css_file("browser_zoo.css")
        app.add_js_file("browser_zoo.js", type="module")


def setup(app):
    app.connect("html-page-context", _files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
