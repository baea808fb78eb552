"""A verdict as people read it: `text` (terminal), `markdown`, `html` (one self-contained page)."""
