"""Pages of the site that are Markdown files elsewhere in the repository, and links between the two."""

import os
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
PAGES = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "benchmarks/README.md": "project/benchmarks.md",
}
PLACEHOLDER = "<pages that no list names>"  # in the index
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def page_of(path):
    """The page of the site, from its root, that shows a file of the repository; None where there is none."""
    relative = path.relative_to(ROOT).as_posix()
    if relative in PAGES:
        return PAGES[relative]
    if relative == "README.md":
        return "index.md"
    if relative == "examples/README.md":
        return "gallery/index.rst"
    if path.parent == ROOT / "zoo" and path.suffix == ".md":
        return "zoo/index.md" if path.name == "README.md" else f"zoo/{path.name}"
    if path.is_relative_to(DOCS) and path.suffix == ".md":
        return path.relative_to(DOCS).as_posix()
    return None


def with_site_links(text, source, page):
    """The text of a Markdown file, its links to files of the repository replaced by links that work on the site.

    Args:
        text: Markdown.
        source: the file that it comes from, to whose folder links are relative.
        page: the file in docs/ where the text goes.
    """

    def replaced(match):
        mark, label, target = match.groups()
        file, _, anchor = target.partition("#")
        if not file or ":" in file or file.startswith("/"):
            return match[0]
        path = Path(os.path.normpath(source.parent / file))
        if mark:
            return f"![{label}]({os.path.relpath(path, page.parent)})"
        found = page_of(path) if path.is_relative_to(ROOT) else None
        if found is None:
            return match[0] if path.is_relative_to(DOCS) else label
        return f"[{label}](/{found}{'#' + anchor if anchor else ''})"

    return LINK.sub(replaced, text)


def write(page, text):
    """Writes a page that was made, unless it is there already: Sphinx reads again only what has changed."""
    page.parent.mkdir(parents=True, exist_ok=True)
    if not page.is_file() or page.read_text("utf-8") != text:
        page.write_text(text, "utf-8")


def _write_pages(app):
    for source, page in PAGES.items():
        write(DOCS / page, with_site_links((ROOT / source).read_text("utf-8"), ROOT / source, DOCS / page))


def _unlisted(index):
    """The pages beside the index, and in tutorials/ and concepts/, that its text does not name, one in a line."""
    found = [path for pattern in ("*.md", "tutorials/*.md", "concepts/*.md") for path in sorted(DOCS.glob(pattern))]
    names = [path.relative_to(DOCS).with_suffix("").as_posix() for path in found]
    return "".join(f"{name}\n" for name in names if name != "index" and f"\n{name}\n" not in index)


def _replace_links(app, docname, source):
    page = Path(app.env.doc2path(docname))
    if docname == "index":
        source[0] = source[0].replace(f"{PLACEHOLDER}\n", _unlisted(source[0]))
    if page.suffix == ".md" and docname.split("/")[0] not in ("project", "zoo"):
        source[0] = with_site_links(source[0], page, page)


def setup(app):
    app.connect("builder-inited", _write_pages, priority=100)
    app.connect("source-read", _replace_links)
    return {"parallel_read_safe": True}
