"""Shapes and text, as SVG."""

from html import escape


class Drawing:
    def __init__(self):
        self._parts = []

    def text(self, x, y, text, size=12, fill="#495057", anchor="start", weight="normal"):
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{escape(str(text))}</text>'
        )

    def rect(self, x, y, w, h, fill, stroke="none", radius=0):
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{fill}" stroke="{stroke}" rx="{radius}"/>'
        )

    def line(self, x1, y1, x2, y2, stroke):
        self._parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"/>')

    def path(self, d, stroke="none", fill="none", opacity=1.0, width=1.6):
        self._parts.append(
            f'<path d="{d}" stroke="{stroke}" fill="{fill}" fill-opacity="{opacity}" '
            f'stroke-width="{width}" stroke-linejoin="round"/>'
        )

    def svg(self, width: int, height: int, background: str, label: str) -> str:
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="Inter, Helvetica, Arial, sans-serif" role="img" aria-label="{escape(label)}">\n'
            f'<rect width="100%" height="100%" fill="{background}"/>\n' + "\n".join(self._parts) + "\n</svg>\n"
        )
