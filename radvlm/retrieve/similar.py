"""A page of similar cases: each with its report, what makes it similar, and a key image where the caller has one.

Images come as PNG bytes from the caller, because retrieval reads no scans. One file, no scripts, nothing fetched.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

from radvlm.errors import InputError
from radvlm.retrieve.result import SearchResult
from radvlm.types.report import NOTICE

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:72rem;padding:1rem;
color:#1b1b1b;background:#fff}
article{display:grid;grid-template-columns:minmax(0,20rem) 1fr;gap:1rem;border-top:1px solid #ccc;padding:1rem 0}
img{max-width:100%;background:#000}pre{white-space:pre-wrap;font:inherit;margin:.3rem 0}small{color:#555}
@media (max-width:40rem){article{grid-template-columns:1fr}}
@media (prefers-color-scheme:dark){body{color:#eee;background:#161616}small{color:#aaa}}"""


def similar_cases_page(
    result: SearchResult,
    *,
    title: str = "Similar cases",
    query_image: bytes | None = None,
    images: Mapping[str, bytes] | None = None,
) -> str:
    """HTML of a search among scans.

    Args:
        images: record id -> PNG of the case; ``query_image``: PNG of the scan that was asked about.

    Raises InputError for bytes that are no PNG.
    """
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1><p>{escape(NOTICE)}</p>"
    ]
    if query_image is not None:
        parts.append(f"<p>{_picture(query_image, 'the scan that was asked about')}</p>")
    left = "; ".join(f"{n} {reason}" for reason, n in result.excluded.items()) or "none"
    parts.append(
        f"<p>{len(result)} of {result.searched:,} scans that could be found. Records left out: {escape(left)}. "
        "These are other patients: nothing on this page is a finding of the scan.</p>"
    )
    if not len(result):
        parts.append("<p><strong>No similar case.</strong></p>")
    for hit in result:
        picture = (images or {}).get(hit.record)
        above = "not calibrated" if hit.z is None else f"{hit.z:.1f} standard deviations above other scans"
        facts = " · ".join(escape(x) for x in (hit.region, hit.date, hit.site) if x)
        parts.append(
            f"<article><div>{_picture(picture, f'case {hit.rank}') if picture else '<small>no image</small>'}</div>"
            f"<div><h2>{hit.rank}. {escape(hit.record)}</h2><small>cosine {hit.score:.3f}, {above}"
            f"{' · ' + facts if facts else ''}</small><pre>{escape(hit.text)}</pre></div></article>"
        )
    parts.append(f"<p><small>index {escape(result.index_digest)}</small></p></html>")
    return "".join(parts)


def _picture(png: bytes, words: str) -> str:
    if not png.startswith(b"\x89PNG\r\n\x1a\n"):
        raise InputError("images of a page are PNG", repr(png[:8]))
    return f'<img alt="{escape(words, quote=True)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
