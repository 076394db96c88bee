"""Nothing in a report may be fetched: whatever an output would load from elsewhere is taken out, and counted."""

from __future__ import annotations

import re

_LOADING = "img|source|video|audio|embed|object|track|input|image|use|iframe|feimage|frame|body|table|td|th"
_TAG = re.compile(rf"<({_LOADING})\b((?:[^>\"']|\"[^\"]*\"|'[^']*')*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"\s(?:src|srcset|href|xlink:href|data|poster|background)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+))",
    re.IGNORECASE,
)
_WHOLE = re.compile(
    r"<script\b(?=[^>]*\bsrc\b)[^>]*>.*?</script\s*>|<(?:link|base)\b[^>]*>|<meta\b[^>]*http-equiv[^>]*>",
    re.IGNORECASE | re.DOTALL,
)
_STYLED = re.compile(
    r"(<style\b[^>]*>.*?</style\s*>)|(\sstyle\s*=\s*(?:\"[^\"]*\"|'[^']*'))", re.IGNORECASE | re.DOTALL
)
_CSS = re.compile(r"@import[^;]*;?|url\(\s*[\"']?(?!data:|#)[^)]*\)", re.IGNORECASE)


def offline(html: str) -> tuple[str, int]:
    """HTML without references that a browser would load; links that a reader follows stay.

    Returns:
        The HTML, and how many references were taken out.

    Example:
        >>> offline('<img src="https://a.example/x.png"> <a href="https://a.example">read</a>')
        ('<img> <a href="https://a.example">read</a>', 1)
    """
    count = 0

    def attribute(match: re.Match[str]) -> str:
        nonlocal count
        value = next((part for part in match.groups() if part is not None), "").strip()
        if not value or value.startswith(("data:", "#")):
            return match[0]
        count += 1
        return ""

    def css(match: re.Match[str]) -> str:
        nonlocal count
        text, found = _CSS.subn("none", match[0])
        count += found
        return text

    html, whole = _WHOLE.subn("", html)
    html = _TAG.sub(lambda match: f"<{match[1]}{_ATTRIBUTE.sub(attribute, match[2])}>", html)
    html = _STYLED.sub(css, html)
    return html, count + whole
