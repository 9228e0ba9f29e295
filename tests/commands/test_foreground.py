"""A training in the foreground has the machine to itself."""

from engine.__main__ import main
from engine.commands.foreground import UNASKED_SECONDS
from engine.device import Device


def test_it_may_keep_the_machine_longer_at_a_stretch(settings, lasting_spec, tmp_path, monkeypatch):
    """Nobody asks a chat beside it: no other job of its folder is taken."""
    kept = []
    monkeypatch.setattr("engine.commands.foreground.hear", lambda _: None)
    monkeypatch.setattr("engine.commands.foreground.ensure_worker", lambda _: None)
    monkeypatch.setattr("engine.worker.Worker.serve", lambda self, until: kept.append(self.device.tools(1)))
    (tmp_path / "spec.json").write_text(lasting_spec().to_json())
    assert main(["train", str(tmp_path / "spec.json"), "--runs", str(settings.runs)]) == 1
    [tools] = kept
    assert tools.advance_seconds == UNASKED_SECONDS > Device(settings).tools(1).advance_seconds
