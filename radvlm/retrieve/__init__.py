"""Retrieval of prior report text and passages that helps and never leaks.

Importing this package loads none of its parts; each name is fetched when first used, so that neither faiss nor numpy
is needed to show ``--help``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radvlm.files.late_names import late_names

#: Public name -> module that defines it.
_HOME = {
    "ReportIndex": "radvlm.retrieve.index",
    "IndexSettings": "radvlm.retrieve.settings",
    "SearchOptions": "radvlm.retrieve.search_options",
    "Hit": "radvlm.retrieve.result",
    "SearchResult": "radvlm.retrieve.result",
    "Record": "radvlm.retrieve.records",
    "read_records": "radvlm.retrieve.records",
    "Embedder": "radvlm.retrieve.embedder",
    "FunctionEmbedder": "radvlm.retrieve.embedder",
    "HashedText": "radvlm.retrieve.embedder",
    "QueryContext": "radvlm.retrieve.context",
    "context_of": "radvlm.retrieve.context",
    "SelectSettings": "radvlm.retrieve.selection",
    "Selection": "radvlm.retrieve.selection",
    "select": "radvlm.retrieve.selection",
    "Hint": "radvlm.retrieve.hints",
    "make_hints": "radvlm.retrieve.hints",
    "render_hints": "radvlm.retrieve.hints",
    "KnowledgeBase": "radvlm.retrieve.knowledge",
    "copy_only": "radvlm.retrieve.baselines",
    "random_report": "radvlm.retrieve.baselines",
    "neighbor_vote": "radvlm.retrieve.baselines",
    "similar_cases_page": "radvlm.retrieve.similar",
    "VectorStore": "radvlm.retrieve.external_store",
    "StoreIndex": "radvlm.retrieve.external_store",
    "ArrayStore": "radvlm.retrieve.external_store",
    "LanceStore": "radvlm.retrieve.lance",
}
__all__ = [
    "ArrayStore",
    "Embedder",
    "FunctionEmbedder",
    "HashedText",
    "Hint",
    "Hit",
    "IndexSettings",
    "KnowledgeBase",
    "LanceStore",
    "QueryContext",
    "Record",
    "ReportIndex",
    "SearchOptions",
    "SearchResult",
    "SelectSettings",
    "Selection",
    "StoreIndex",
    "VectorStore",
    "context_of",
    "copy_only",
    "make_hints",
    "neighbor_vote",
    "random_report",
    "read_records",
    "render_hints",
    "select",
    "similar_cases_page",
]

if TYPE_CHECKING:
    from radvlm.retrieve.baselines import copy_only, neighbor_vote, random_report
    from radvlm.retrieve.context import QueryContext, context_of
    from radvlm.retrieve.embedder import Embedder, FunctionEmbedder, HashedText
    from radvlm.retrieve.external_store import ArrayStore, StoreIndex, VectorStore
    from radvlm.retrieve.hints import Hint, make_hints, render_hints
    from radvlm.retrieve.index import ReportIndex
    from radvlm.retrieve.knowledge import KnowledgeBase
    from radvlm.retrieve.lance import LanceStore
    from radvlm.retrieve.records import Record, read_records
    from radvlm.retrieve.result import Hit, SearchResult
    from radvlm.retrieve.search_options import SearchOptions
    from radvlm.retrieve.selection import Selection, SelectSettings, select
    from radvlm.retrieve.settings import IndexSettings
    from radvlm.retrieve.similar import similar_cases_page

__getattr__, __dir__ = late_names(__name__, _HOME)
