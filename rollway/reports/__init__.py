"""Reports as strings: text for terminals, Markdown for artifacts, SVG for pictures."""
