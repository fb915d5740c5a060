"""``load_model`` with a name that the list of weights has, and that it does not open: what the name is for."""

from __future__ import annotations

import pytest

from radvlm.errors import InputError, RadvlmError
from radvlm.model.published import published_models
from radvlm.model.registry import load_model


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("spectre", "not usable yet: no adapter"),
        ("biomedclip", "an encoder to train on"),
        ("merlin-five-year", r"radvlm\.load_model\('merlin'\)"),
        ("totalsegmentator-total", r"makes masks.*--segment total -o OUT"),
        ("astro", "Did you mean astra"),
        ("tinny", "Did you mean tiny"),
    ],
)
def test_a_name_is_told_what_it_is(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_model(name)


def test_no_published_name_is_called_a_file_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("RADVLM_WEIGHTS", str(tmp_path))
    for row in published_models():
        if row.how in ("hub", "none"):
            with pytest.raises(RadvlmError) as told:
                load_model(row.name)
            assert "no such file" not in str(told.value), row.name
