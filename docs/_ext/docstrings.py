"""The library's docstrings in the reference: which are shown, and what Markdown habits mean in reStructuredText.

Indented paragraphs are equations or listings; `*` and `|` are themselves.
"""

import ast
import inspect
import re
import textwrap

SECTION = re.compile(r"^(Args|Attributes|Example|Examples|Note|Raises|Reference|References|Returns|Warning|Yields):$")
SPECIAL = re.compile(r"(`+[^`]+`+)|([|*])")
# What Keras calls, not users.
PLUMBING = {
    "build",
    "build_from_config",
    "compute_output_shape",
    "from_config",
    "get_build_config",
    "get_config",
    "load_own_variables",
    "save_own_variables",
}


def paragraphs(lines):
    """The lines, with indented ones that belong to no section as literal blocks, and special characters escaped."""
    result, in_section, in_literal = [], False, False
    for line in lines:
        text, indented = line.strip(), line.startswith("  ")
        if text and not indented:
            if in_literal and result[-1].strip():
                result.append("")
            in_section, in_literal = bool(SECTION.match(text)), False
        elif text and not in_section and not in_literal:
            if result and result[-1].strip():
                result.append("")
            result += [".. code-block:: text", ""]
            in_literal = True
        result.append(line if in_literal else SPECIAL.sub(lambda match: match[1] or "\\" + match[2], line))
    return result


def _process(app, what, name, obj, options, lines):
    lines[:] = paragraphs(lines)


def _skip(app, what, name, obj, skip, options):
    if name in PLUMBING:
        return True
    function = getattr(obj, "fget", None) or getattr(obj, "__func__", obj)
    return True if not (getattr(function, "__module__", None) or "tfflows").startswith("tfflows") else None


def _signature(app, what, name, obj, options, signature, return_annotation):
    """The annotations as the source has them: `Tensor`, where its value is any tensor of either backend."""
    function = obj.__init__ if what == "class" else obj
    try:
        node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError):
        return None
    if not isinstance(node, ast.FunctionDef):
        return None
    everything = node.args.posonlyargs or node.args.args
    if everything and everything[0].arg in ("self", "cls"):
        del everything[0]
    returns = ast.unparse(node.returns).strip("'\"") if node.returns and what != "class" else None
    return f"({ast.unparse(node.args)})", returns


def setup(app):
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", _process, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}
