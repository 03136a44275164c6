"""Sphinx: the documentation as HTML (``make docs``)."""

project = "sbc"
extensions: list[str] = []
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "A push-capable Session Border Controller", "page_width": "1100px"}
