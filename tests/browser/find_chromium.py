"""Find a Chromium for the browser tests; on Debian as root it is installed where it is missing."""

import os
import shutil
import subprocess
import sys

# Debian's package of the same browser without windows takes three tenths less processor time for a page.
PACKAGES = ("chromium-headless-shell", "chromium")
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """The path of a Chromium or Chrome on this machine, or None. WORKBENCH_CHROMIUM names another one."""
    return os.environ.get("WORKBENCH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def main() -> int:
    if chromium():
        return 0
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        for package in PACKAGES:
            command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
            if subprocess.run(command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}).returncode == 0:
                break
    if chromium():
        return 0
    print(
        "The browser tests need Chromium: install it (Debian: `sudo apt-get install chromium`), or set "
        "WORKBENCH_CHROMIUM to a Chrome or Chromium.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
