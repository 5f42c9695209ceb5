"""Figures in a page of the documentation."""

from pathlib import Path


def replace_block(page: Path, name: str, text: str) -> None:
    """Puts a text between the markers of this name. The page is complete at every moment."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    old = page.read_text()
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise SystemExit(f"{page} does not have the markers {begin} and {end} once each")
    new = page.with_name(f"{page.name}.new")
    new.write_text(f"{old.partition(begin)[0]}{begin}\n{text}\n{end}{old.partition(end)[2]}")
    new.replace(page)
