"""Tests in an environment that has Harlequin: `nox -s harlequin`."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("harlequin") else ["test_*.py"]
