"""Schemathesis: every answer is as the OpenAPI description says."""

import os
import subprocess
import sys
from pathlib import Path

TOKEN = "the-token-of-this-test"


def test_schemathesis_has_no_finding(run_service, tmp_path):
    served = run_service(token=TOKEN, queue=64)
    options = "--checks all --max-examples 30 --seed 7 --no-color --suppress-health-check all".split()
    header = ["--header", f"Authorization: Bearer {TOKEN}"]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json", *header, *options],
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.serve.schemathesis_hooks",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 5" in done.stdout and "No issues found" in done.stdout
    # Requests got through, refusals were met, and there was no bug.
    metrics = served.service.metrics.text().decode()
    seen = {status for status in (200, 400, 401, 409, 500) if f'status="{status}"' in metrics}
    assert seen == {200, 400, 401, 409}
