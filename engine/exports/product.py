"""What files say of the product that wrote them: its version, and when. Knows nothing of their content."""

import time
from importlib.metadata import PackageNotFoundError, version

DATE = "%Y-%m-%d %H:%M"


def product_version() -> str:
    """'' where the workbench is not installed."""
    try:
        return version("circuit-breaker-workbench")
    except PackageNotFoundError:
        return ""


def date(seconds: float) -> str:
    """A local date and time: '2026-11-26 14:05'."""
    return time.strftime(DATE, time.localtime(seconds))


def written_by() -> str:
    """One sentence for the foot of a file."""
    return f"Written {date(time.time())} by the circuit breaker workbench {product_version()}".rstrip() + "."
