"""``radvlm doctor``: true of this machine, light, and of use on a bare one."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from radvlm.cli.main import main
from radvlm.workflows import doctor


def test_doctor_tells_what_is_here(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path))
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH", raising=False)
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["PyTorch"] == metadata.version("torch") and found["missing_core"] == []
    assert found["cores"] >= 1 and found["memory_gib"] > 0.5 and found["free_gib"]
    if found["totalsegmentator"]:
        assert found["advice"] == [
            "totalseg_download_weights -t total_fast",
            "radvlm report CT --segment total --fast -o OUT",
        ]
        assert {task["name"] for task in found["tasks"]} >= {"total", "total --fast", "liver_lesions"}
        assert not [task for task in found["tasks"] if task["state"] == "ready"]
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "FOR A REPORT WITH ORGANS" in told and "EXTRAS" in told and "  tiny: in this package" in told


def test_a_bare_install_gets_two_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    import radvlm.segment.totalsegmentator_weights as weights

    monkeypatch.setattr(weights, "is_installed", lambda: False)
    monkeypatch.setattr(weights, "package_version", lambda: "")
    found = doctor.diagnose()
    assert list(found.advice) == [
        'pip install "radvlm[totalsegmentator]"',
        "radvlm report CT --segment total --fast --allow-download -o OUT",
    ]
    assert "segmented by thresholds alone" in doctor.diagnosis_text(found)


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ({"total": "ready", "total --fast": "ready"}, "radvlm report CT --segment total -o OUT"),
        ({"total": "no", "total --fast": "ready"}, "radvlm report CT --segment total --fast -o OUT"),
    ],
)
def test_advice_follows_the_weights(tasks: dict[str, str], expected: str) -> None:
    assert doctor._advice(True, tasks) == (expected,)


def test_doctor_does_not_import_what_is_heavy() -> None:
    code = (
        "import sys; from radvlm.workflows.doctor import diagnose; diagnose(); "
        "sys.exit(bool({'torch', 'monai', 'nnunetv2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
