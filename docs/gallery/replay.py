"""Pictures of the replay of the run that ships, opened from disk without a network: light, dark, and as on a phone."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from engine.exports.bundle.write import bundle_html
from engine.records.settings import ROOT, read_settings
from engine.records.shipped import shipped_run

sys.path.insert(0, str(ROOT / "tests" / "browser"))

from find_chromium import chromium

LOOKS = {"light": ("light", 1280, 1000), "dark": ("dark", 1280, 1000), "phone": ("light", 400, 860)}


def main() -> None:
    settings = read_settings()
    run = shipped_run(settings.runs)
    assert run is not None, "the runs that ship are hidden"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "replay.html"
        file.write_text(bundle_html(run, settings))
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        for name, (scheme, width, height) in LOOKS.items():
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
            )
            page = context.new_page()
            page.goto(file.as_uri())
            page.locator("#curves .main-svg").first.wait_for()
            page.locator("#scrubber").fill("480")
            page.wait_for_timeout(1500)
            page.screenshot(path=ROOT / "docs" / "gallery" / f"replay-{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
