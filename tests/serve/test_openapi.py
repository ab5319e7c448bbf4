"""The service answers as its OpenAPI description says, whatever schemathesis thinks of sending."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.serve.conftest import Running

TOKEN = "the-token-of-this-test"


def test_schemathesis_has_no_finding(run_service: Callable[..., Running], tmp_path: Path) -> None:
    served = run_service(token=TOKEN, queue=64)
    headers = ["--header", f"Authorization: Bearer {TOKEN}"]
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            f"{served.url}/openapi.json",
            *headers,
            "--checks",
            "all",
            "--max-examples",
            "30",
            "--seed",
            "7",
            "--no-color",
            "--suppress-health-check",
            "all",
        ],
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.serve.schemathesis_hooks", "PYTHONPATH": str(_root())},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Tested: 5" in found.stdout and "No issues found" in found.stdout
    metrics = served.service.metrics.text().decode()
    for status in (200, 400, 409):
        assert f'route="/v1/upscale",status="{status}"' in metrics
    assert 'status="401"' in metrics
    assert 'status="500"' not in metrics


def _root() -> Path:
    return Path(__file__).parents[2]
