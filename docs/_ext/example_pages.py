"""Prepares examples/ for sphinx-gallery: the text and the picture of an example are its section of examples/README.md.

Each script of the folder becomes a page, without being named anywhere else. It is not run here: the pictures in docs/
are what it drew at full size.
"""

import re

from PIL import Image
from repository_pages import DOCS, ROOT, write

SOURCE = DOCS / "_examples"
TITLE = "Examples"
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)]+)\)")
PICTURE = re.compile(r"^!\[([^\]]*)\]\((\S+)\)$", re.MULTILINE)
DOCSTRING = re.compile(r'\A"""(.*?)"""\n', re.DOTALL)


def sections():
    """{name of the script: (title, Markdown)} of examples/README.md."""
    text = (ROOT / "examples" / "README.md").read_text("utf-8")
    found = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        for name in re.findall(r"python examples/(\w+)\.py", body):
            found[name] = (title.strip(), body.strip("\n"))
    return found


def restructured(markdown):
    """Paragraphs, tables, listings and pictures in Markdown as reStructuredText."""
    return "\n\n".join(_block(block) for block in re.split(r"\n\s*\n", markdown.strip("\n")))


def _block(block):
    lines = block.split("\n")
    if all(line.startswith("    ") for line in lines):
        return "::\n\n" + block
    if lines[0].startswith("|"):
        cells = [[_inline(cell.strip()) for cell in line.strip("|").split("|")] for line in lines[:1] + lines[2:]]
        rows = ["\n".join(f"   {'* -' if not i else '  -'} {cell}" for i, cell in enumerate(row)) for row in cells]
        return ".. list-table::\n   :header-rows: 1\n\n" + "\n".join(rows)
    picture = PICTURE.fullmatch(block)
    if picture:
        return f".. image:: {_from_gallery(picture[2])}\n   :alt: {picture[1]}"
    return _inline(block)


def _from_gallery(path):
    return "/" + (ROOT / "examples" / path).resolve().relative_to(DOCS).as_posix()


def _inline(text):
    text = LINK.sub(lambda match: f"`{match[1]} <{match[2]}>`__" if ":" in match[2] else match[1], text)
    return re.sub(r"(?<!`)`([^`<]+)`(?!`|_)", r"``\1``", text)


def _write_thumbnail(picture, target):
    """The upper left part of a picture, in the proportions of the gallery's tiles."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(picture) as image:
        width, height = image.size
        box = (0, 0, min(width, height * 10 // 7), min(height, width * 7 // 10))
        image.convert("RGB").crop(box).resize((400, 280), Image.Resampling.LANCZOS).save(target)


def page(path, section):
    """The source of an example with a docstring for sphinx-gallery."""
    code = path.read_text("utf-8")
    docstring = DOCSTRING.match(code)[1]
    title, markdown = section or (path.stem.replace("_", " ").capitalize(), docstring)
    picture = PICTURE.search(markdown)
    thumbnail = ""
    if picture:
        _write_thumbnail(ROOT / "examples" / picture[2], SOURCE / "thumbnails" / f"{path.stem}.png")
        thumbnail = f'# sphinx_gallery_thumbnail_path = "_examples/thumbnails/{path.stem}.png"\n'
    text = restructured(markdown).replace("\\", "\\\\")
    head = f'"""\n{title}\n{"=" * len(title)}\n\n{text}\n"""\n'
    body = code[DOCSTRING.match(code).end() :].lstrip()
    return f"{head}\n# %%\n# The whole script:\n\n{thumbnail}\n{body}"


def _write_pages(app):
    scripts = {path.stem: path for path in sorted((ROOT / "examples").glob("*.py"))}
    known = sections()
    for old in SOURCE.glob("*.py"):
        if old.stem not in scripts:
            old.unlink()
    for name, path in scripts.items():
        write(SOURCE / path.name, page(path, known.get(name)))
    introduction = re.split(r"^## ", (ROOT / "examples" / "README.md").read_text("utf-8"), flags=re.MULTILINE)[0]
    text = restructured(introduction.partition("\n")[2])
    write(SOURCE / "GALLERY_HEADER.rst", f"{TITLE}\n{'=' * len(TITLE)}\n\n{text}\n")


def setup(app):
    app.connect("builder-inited", _write_pages, priority=100)
    return {"parallel_read_safe": True}
