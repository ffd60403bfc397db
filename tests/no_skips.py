"""A pytest plugin for ``make test``: a test that is skipped has failed.

Skipping hides that something was never tried: a browser that was not found, weights that were
not fetched. Where a skip is right, the test is named in ``MAY_SKIP`` with the reason.
Expected failures (``xfail``) are not skips.
"""

from collections.abc import Generator
from typing import Any

import pytest

MAY_SKIP: dict[str, str] = {}
"""Node ids (without parameters) and why each may be skipped."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the report of a skipped test into that of a failed one."""
    report = yield
    _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself while it is collected."""
    report = yield
    _refuse(report)
    return report


def _refuse(report: Any) -> None:
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    if report.nodeid.partition("[")[0] in MAY_SKIP:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{reason}\nNothing is skipped in silence: see tests/no_skips.py."
