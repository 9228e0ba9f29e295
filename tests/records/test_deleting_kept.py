"""A chat or an answered set is deleted whole, also while a job still writes in it."""

import shutil

import pytest

from engine.records.chats.asked import Column
from engine.records.chats.chat import Chat, Exchange, list_chats, new_chat
from engine.records.chats.replies import Failed
from engine.records.deleting import delete_kept
from engine.records.errors import RunError
from engine.records.runs import create_run
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec

BASE = Column(checkpoint="base")


def asked(settings, *columns: Column) -> Chat:
    chat = new_chat(settings, columns)
    chat.ask(Exchange(model=ModelSpec(), columns=columns, user="hello"))
    return chat


def test_a_job_that_still_writes_brings_no_part_of_it_back(settings, monkeypatch):
    run = create_run(settings.runs, build_spec({}))
    remove = shutil.rmtree
    for columns in ((BASE,), (BASE, Column(checkpoint=run.id))):
        chat, kept = (asked(settings, *columns) for _ in range(2))

        def removing(folder, chat=chat, kept=kept):
            with pytest.raises(RunError):
                chat.append(0, Failed(message="still at work"))
            assert list_chats(settings) == [kept]
            remove(folder)

        monkeypatch.setattr(shutil, "rmtree", removing)
        delete_kept(chat.folder)
        assert list_chats(settings) == [kept] and not list(chat.folder.parent.parent.glob(".deleted-*"))
        monkeypatch.undo()
        delete_kept(kept.folder)


def test_what_another_tab_has_deleted_is_gone_already(settings):
    chat = asked(settings, BASE)
    delete_kept(chat.folder)
    delete_kept(chat.folder)
    assert list_chats(settings) == []
