"""Checks a built site: every link, picture, script and style inside of it is there, and every anchor.

    python tools/check_links.py docs/_build/html

Prints how many pages and links it has, and ends with 1 where a link leads nowhere or a page loads something from
another server.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src"}


class Page(HTMLParser):
    """What a page links to, loads, and has as anchors."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors.update(filter(None, [values.get("id"), values.get("name")]))
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if values.get(LOADED.get(tag)):
            self.loaded.append(values[LOADED[tag]])


def faults(folder):
    """(number of pages, number of links, sentences about what is wrong) of a site."""
    pages = {path: Page(path) for path in sorted(folder.rglob("*.html"))}
    found, count = [], 0
    for path, page in pages.items():
        name = path.relative_to(folder)
        for target in page.links + page.loaded:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                if target in page.loaded and url.scheme != "data":
                    found.append(f"{name} loads {target} from another server")
                continue
            count += 1
            file = (path.parent / unquote(url.path)).resolve() if url.path else path
            if file.is_dir():
                file /= "index.html"
            if not file.exists():
                found.append(f"{name} links to {target}, which is not there")
            elif url.fragment and file in pages and unquote(url.fragment) not in pages[file].anchors:
                found.append(f"{name} links to {target}, which has no such anchor")
    return len(pages), count, found


if __name__ == "__main__":
    number, links, wrong = faults(Path(sys.argv[1]).resolve())
    print("\n".join([*wrong, f"{number} pages, {links} links inside of the site, {len(wrong)} wrong"]))
    sys.exit(1 if wrong else 0)
