"""Check that every link inside the built site leads to a page that exists, and to an anchor on it.

python docs/check_links.py FOLDER
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, and the links and pictures on it."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors.update(values[name] for name in ("id", "name") if values.get(name))
        self.links += [values[name] for name in ("href", "src") if values.get(name)]


def broken_links(folder):
    """Yield ``(page, link)`` for every link inside `folder` that leads nowhere."""
    pages = {
        path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html") if "_static" not in path.parts
    }
    for path, page in pages.items():
        for link in page.links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            anchor = unquote(address.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                yield path.relative_to(folder), link


if __name__ == "__main__":
    broken = sorted(set(broken_links(Path(sys.argv[1]).resolve())))
    for where, link in broken:
        print(f"{where}: {link}")
    sys.exit(f"{len(broken)} links lead nowhere" if broken else 0)
