"""Configuration of the site: `python -m sphinx -W -b html docs docs/_build/html`, without the network.

The extensions in `_ext/` write the pages that are made from other files of the repository: the zoo, the gallery of
examples, and what stands in Markdown files outside of this folder.
"""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(DOCS.parent), os.environ.get("PYTHONPATH")]))

project = "tfflows"
author = "The tfflows authors"
copyright = "The tfflows authors, Apache 2.0"
extensions = [
    "repository_pages",
    "zoo_pages",
    "example_pages",
    "docstrings",
    "katex",
    "notebooks",
    "browser_zoo",
    "command_line",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "sphinx_design",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_ext", "_examples", "_vendor", "**/*.ipynb"]
default_role = "code"

# Tutorials run when their pages are built; a cell that fails stops the build.
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Reference"]
napoleon_use_rtype = False

sphinx_gallery_conf = {
    "examples_dirs": "_examples",
    "gallery_dirs": "gallery",
    "plot_gallery": False,  # the pictures are those in docs/, which the examples drew at full size
    "download_all_examples": False,
    "within_subsection_order": "FileNameSortKey",
    "show_signature": False,
    "thumbnail_size": (400, 280),
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
}

html_theme = "furo"
html_math_renderer = "katex"
html_title = "tfflows"
html_static_path = ["_static", "_vendor", "_browser"]
html_css_files = ["site.css"]
html_js_files = ["table.js"]
html_copy_source = False
html_show_sphinx = False
html_favicon = "_static/logo.svg"
_colours = dict.fromkeys(["color-brand-primary", "color-brand-content", "color-brand-visited"], "#0f6f74")
_dark = dict.fromkeys(_colours, "#5fc7c0")
html_theme_options = {
    "light_logo": "logo.svg",
    "dark_logo": "logo.svg",
    "light_css_variables": _colours,
    "dark_css_variables": _dark,
    "navigation_with_keys": True,
}
