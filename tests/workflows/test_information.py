"""``radvlm info``: true, complete, and light."""

from __future__ import annotations

import subprocess
import sys

from radvlm.workflows.information import information, information_text


def test_all_topics_have_rows_and_print() -> None:
    facts = information("all")
    assert set(facts) == {"structures", "schemes", "rules", "versions", "licences"}
    assert all(facts.values())
    text = information_text(facts)
    assert "kidney_left" in text and "totalsegmentator" in text and "Prassopoulos" in text


def test_info_never_imports_torch() -> None:
    code = (
        "import sys, radvlm.workflows.information as i; i.information(); "
        "assert not {'torch', 'monai', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
