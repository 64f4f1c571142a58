"""Equations drawn by KaTeX in the reader's browser, from the copy in `_vendor/`; only pages that have some load it."""


def _inline(writer, node):
    writer.body.append(writer.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    writer.body.append(writer.encode(node.astext()).strip() + "</span>")
    _skip(node)


def _display(writer, node):
    writer.body.append(writer.starttag(node, "div", "", CLASS="math notranslate nohighlight"))
    text = node.astext().strip()
    if "\\\\" in text and "\\begin" not in text:
        text = "\\begin{aligned}" + text + "\\end{aligned}"
    writer.body.append(writer.encode(text) + "</div>\n")
    _skip(node)


def _skip(node):
    from docutils import nodes

    raise nodes.SkipNode


def _files(app, pagename, templatename, context, doctree):
    if doctree is None:
        return
    from docutils import nodes

    if any(doctree.findall(lambda node: isinstance(node, nodes.math | nodes.math_block))):
        app.add_css_file("katex/katex.min.css")
        app.add_js_file("katex/katex.min.js", loading_method="defer")
        app.add_js_file("equations.js", loading_method="defer")


def setup(app):
    app.add_html_math_renderer("katex", (_inline, None), (_display, None))
    app.connect("html-page-context", _files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
