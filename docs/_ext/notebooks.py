"""A notebook of every tutorial, to download; in Colab `File > Upload notebook` opens it."""

import re
from pathlib import Path

import nbformat

CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(?::[^\n]*\n|\s*\n)*(.*?)^```$", re.MULTILINE | re.DOTALL)
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def is_tutorial(text):
    """Whether a page is a notebook in Markdown."""
    return text.startswith("---\n") and "file_format: mystnb" in text


def notebook(text):
    """The notebook of a page."""
    parts, end = [], 0
    text = FRONT_MATTER.sub("", text)
    for match in CELL.finditer(text):
        parts += [("markdown", text[end : match.start()]), ("code", match[1])]
        end = match.end()
    parts.append(("markdown", text[end:]))
    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    cells = [make[kind](content.strip()) for kind, content in parts if content.strip()]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=kernel)


def _add_link(app, docname, source):
    if is_tutorial(source[0]):
        name, up = docname.rpartition("/")[2], "../" * docname.count("/")
        link = (
            f'<a class="notebook-link" href="{up}notebooks/{name}.ipynb" download>Download this page as a notebook</a>'
        )
        source[0] = re.sub(r"^(# .*\n)", lambda match: f"{match[1]}\n{link}\n", source[0], count=1, flags=re.MULTILINE)


def _write(app, exception):
    if exception or app.builder.format != "html":
        return
    for docname in app.env.found_docs:
        path = Path(app.env.doc2path(docname))
        text = path.read_text("utf-8")
        if path.suffix == ".md" and is_tutorial(text):
            target = Path(app.outdir) / "notebooks" / f"{path.stem}.ipynb"
            target.parent.mkdir(exist_ok=True)
            nbformat.write(notebook(text), target)


def setup(app):
    app.connect("source-read", _add_link)
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True}
