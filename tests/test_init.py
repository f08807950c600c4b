"""What has to hold before anything else of the package is imported."""

import subprocess
import sys


def environment_after(setting: str) -> list[str]:
    code = (
        "import os, sys, voiceedge;"
        "print('numpy' in sys.modules or 'onnxruntime' in sys.modules);"
        "print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['OPENBLAS_NUM_THREADS'])"
    )
    environment = {"PATH": "/usr/bin", **dict(pair.split("=") for pair in setting.split())}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.split()


def test_onnxruntime_reports_to_nobody_and_numpy_does_not_spin():
    assert environment_after("") == ["False", "1", "1"]


def test_what_the_user_has_set_stays():
    assert environment_after("OPENBLAS_NUM_THREADS=2") == ["False", "1", "2"]
