"""Models that see: pictures in their prompts give what transformers' own forward of the whole model gives."""

import dataclasses
import json
from copy import deepcopy

import pytest
import torch
from making_seers import PARTS_TEMPLATE, painted, showing, write_tiny_llava
from PIL import Image

from engine.compute.model.load import describe_model, load_model, load_reader, model_fingerprint
from engine.compute.model.padding import batch_of
from engine.compute.model.pictures import FIRST_ID, behind_pictures, is_of_picture, picture_positions
from engine.compute.model.remembered import words_fingerprint
from engine.compute.model.text import (
    Speaker,
    decode,
    ids_around,
    need_askable,
    pieces_with_marks,
    prompt_ids,
    request_start,
    text_ids,
    token_text,
    tokens_of,
)
from engine.records.conversation import Conversation, Message, Picture, Text, say
from engine.records.errors import DataError, ModelError
from engine.records.spec_parts import ModelSpec

# Of one tile and of several, wide, tall, odd.
SIZES = [(16, 16), (40, 23), (17, 61), (90, 20), (7, 5)]


@pytest.fixture(params=["llava", "llava_next"])
def seer(request):
    return request.getfixturevalue(f"tiny_{request.param}")


def theirs(model, conversation, files):
    """Logits, and what enters the language half, of transformers' own forward of the whole model."""
    processor = model.sight.tokens.processor
    text = model.tokenizer.apply_chat_template(
        [
            {
                "role": message.role,
                "content": [
                    {"type": "image"} if isinstance(part, Picture) else {"type": "text", "text": part.text}
                    for part in message.parts
                ],
            }
            for message in conversation.messages
        ],
        tokenize=False,
        add_generation_prompt=True,
    )
    images = [Image.open(file).convert("RGB") for file in files] or None
    inputs = processor(images=images, text=text, return_tensors="pt")
    entered = []
    handle = model.blocks[0].register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    with torch.no_grad():
        logits = model.published(**inputs, use_cache=False).logits
    handle.remove()
    return logits, entered[0], inputs["input_ids"]


def ours(model, rows):
    batch = batch_of(model, rows, side="left")
    entered = []
    handle = model.blocks[0].register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    with torch.no_grad():
        logits = model.causal_lm(
            input_ids=batch.ids, attention_mask=batch.attention, position_ids=batch.positions, use_cache=False
        ).logits
    handle.remove()
    return logits, entered[0]


def under(model, template):
    """The model under another chat template."""
    tokenizer = deepcopy(model.tokenizer)
    tokenizer.chat_template = template
    return dataclasses.replace(model, tokenizer=tokenizer)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_picture_reads_as_in_transformers_own_forward(seer, tmp_path, size):
    file = painted(tmp_path / "a.png", size=size)
    conversation = showing("What is this?", file)
    expected, entered, their_ids = theirs(seer, conversation, [file])
    ids = tokens_of(seer, conversation).ids
    assert [None if is_of_picture(token) else token for token in ids] == [
        None if token == seer.sight.tokens.image_token_id else token for token in their_ids[0].tolist()
    ]
    logits, our_entered = ours(seer, [ids])
    torch.testing.assert_close(our_entered, entered, rtol=0, atol=0)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_two_pictures_in_one_prompt_read_as_in_transformers_own_forward(seer, tmp_path):
    files = [painted(tmp_path / "a.png", size=(40, 23)), painted(tmp_path / "b.png", size=(20, 50), seed=1)]
    first, second = (showing(text, file).messages[0] for text, file in zip(("This?", "And this?"), files, strict=True))
    conversation = Conversation(messages=(first, say("assistant", "A."), second))
    expected, entered, _ = theirs(seer, conversation, files)
    ids = tokens_of(seer, conversation).ids
    logits, our_entered = ours(seer, [ids])
    words = [not is_of_picture(token) for token in ids]
    torch.testing.assert_close(our_entered[:, words], entered[:, words], rtol=0, atol=0)
    # Theirs shows the tower both pictures at once, ours one at a time: some processors round these otherwise.
    torch.testing.assert_close(our_entered, entered, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_rows_of_other_pictures_and_of_none_go_into_one_batch(seer, tmp_path):
    conversations = [
        showing("What is this?", painted(tmp_path / "a.png")),
        showing("What is this?", painted(tmp_path / "b.png", seed=1, size=(40, 20))),
        Conversation.asking("What is this?"),
    ]
    rows = [tokens_of(seer, conversation).ids for conversation in conversations]
    together, _ = ours(seer, rows)
    alone = [ours(seer, [row])[0][0, -1] for row in rows]
    torch.testing.assert_close(together[:, -1], torch.stack(alone), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)


def test_a_text_alone_reads_as_in_transformers_own_forward(seer):
    conversation = Conversation.asking("What is this?")
    expected, _, _ = theirs(seer, conversation, [])
    torch.testing.assert_close(ours(seer, [tokens_of(seer, conversation).ids])[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("next", [False, True], ids=["llava", "llava_next"])
@pytest.mark.parametrize("begun", [False, True], ids=["left out by the template", "in the template"])
def test_the_token_that_begins_texts_stands_first_once_as_in_transformers_own_forward(tmp_path, settings, next, begun):
    """The templates of published models that see leave it out, and their processors put it there."""
    template = ("{{ bos_token }}" if begun else "") + PARTS_TEMPLATE
    folder = write_tiny_llava(tmp_path / "model", next=next, opening="<s>", template=template)
    model, file = load_model(ModelSpec(name=str(folder)), settings), painted(tmp_path / "a.png", size=(40, 23))
    begins = model.tokenizer.bos_token_id
    text_alone = Conversation.asking("What is this?")
    assert begun or words_fingerprint(model) != model_fingerprint(model), "answers without it would be taken for these"
    for conversation, files in ((showing("What is this?", file), [file]), (text_alone, [])):
        ids = tokens_of(model, conversation).ids
        assert ids[0] == begins and begins not in ids[1:]
        if begun:
            # The test's own call of the processor would put it there twice.
            continue
        # `theirs` writes the text by the template that stands in the folder.
        expected, entered, _ = theirs(under(model, template), conversation, files)
        logits, our_entered = ours(model, [ids])
        torch.testing.assert_close(our_entered, entered, rtol=0, atol=0)
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    tokenizer, pictures = load_reader(model.spec, settings)
    assert prompt_ids(tokenizer, text_alone, pictures)[0] == begins


def test_ids_of_pictures_are_the_same_in_another_process_and_differ_between_pictures(seer, tmp_path, settings):
    one, other = painted(tmp_path / "a.png"), painted(tmp_path / "b.png", seed=1)
    ids = tokens_of(seer, showing("Hi", one)).ids
    again = load_model(seer.spec, settings)
    assert tokens_of(again, showing("Hi", one)).ids == ids
    tokenizer, pictures = load_reader(seer.spec, settings)
    assert tuple(prompt_ids(tokenizer, showing("Hi", one), pictures)) == ids
    different = tokens_of(seer, showing("Hi", other)).ids
    shown, others = ({token for token in row if is_of_picture(token)} for row in (ids, different))
    assert shown and others and not shown & others
    assert all(FIRST_ID <= token < 2**63 for token in shown | others)


def test_the_same_pixels_in_another_file_are_the_same_tokens(tiny_llava, tmp_path):
    file = painted(tmp_path / "a.png")
    Image.open(file).save(tmp_path / "moved.bmp")
    ids = tokens_of(tiny_llava, showing("Hi", file)).ids
    file.unlink()
    assert tokens_of(tiny_llava, showing("Hi", tmp_path / "moved.bmp")).ids == ids
    # The tower is run for the first time now: on the file that is still there.
    assert ours(tiny_llava, [ids])[0].isfinite().all()


def test_a_picture_reads_as_one_placeholder(seer, tmp_path):
    ids = tokens_of(seer, showing("Hi", painted(tmp_path / "a.png"), painted(tmp_path / "b.png", seed=1))).ids
    assert decode(seer, ids) == "user\n[picture]\n[picture]\nHi\nassistant\n"
    assert "".join(token_text(seer, token) for token in ids).count("[picture]") == 2
    end = behind_pictures(ids)
    assert 0 < end < len(ids) and is_of_picture(ids[end - 1]) and not any(map(is_of_picture, ids[end:]))
    # What is said behind it never quotes it.
    said, speaker = text_ids(seer, "né"), Speaker(seer, ids[:end])
    assert "".join(map(speaker.say, said)) == decode(seer, said, begun=ids[:end]) == "né"
    assert "".join(pieces_with_marks(seer, ids[:end], said)) == "né"


def test_where_a_request_begins_counts_the_picture(seer, tmp_path):
    conversation = showing("What?", painted(tmp_path / "a.png"))
    ids = tokens_of(seer, conversation).ids
    start = request_start(seer, conversation, ids)
    assert decode(seer, ids[start:]) == "What?\nassistant\n"
    assert picture_positions(ids[:start]) == picture_positions(ids)
    before, after = ids_around(seer, conversation)
    assert (*before, *after) == ids and decode(seer, before).endswith("What?")


def test_an_opening_of_the_answer_follows_the_picture(seer, tmp_path):
    tokens = tokens_of(seer, showing("What?", painted(tmp_path / "a.png")), begun="Sure, ")
    assert (
        decode(seer, tokens.begun) == "Sure,"
        and tokens.ids == tokens_of(seer, showing("What?", tmp_path / "a.png")).ids
    )


def test_more_pictures_than_the_context_holds_are_refused_with_both_numbers(tmp_path, settings):
    folder = write_tiny_llava(tmp_path / "short", context=64)
    model = load_model(ModelSpec(name=str(folder)), settings)
    files = [painted(tmp_path / f"{seed}.png", seed=seed) for seed in range(3)]
    refused = (
        r"has 78 tokens \(48 of them of 3 pictures\), 24 more than .* can read \(64, 10 of them for the answer\): "
        "show fewer pictures than 3"
    )
    with pytest.raises(ModelError, match=refused):
        tokens_of(model, showing("What is?", *files), reserved=10)


def test_words_that_would_be_taken_for_a_picture_are_refused(seer, tmp_path):
    with pytest.raises(ModelError, match="A message says <image>, which stands for a picture"):
        tokens_of(seer, showing("Write <image> twice", painted(tmp_path / "a.png")))
    with pytest.raises(ModelError, match="A message says <image>"):
        tokens_of(seer, Conversation.asking("Write <image>"))


@pytest.mark.parametrize(
    ("template", "read"),
    [
        # One that takes texts alone: the token for a picture stands in the text, a line of its own, as published.
        (
            "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:",
            "user: <image>\nWhat?\nassistant:",
        ),
        (PARTS_TEMPLATE, "<|im_start|>user\n<image>\nWhat?<|im_end|>\n<|im_start|>assistant\n"),
    ],
    ids=["texts", "parts"],
)
def test_each_form_of_template_shows_the_picture(tiny_llava, tmp_path, template, read):
    model = under(tiny_llava, template)
    ids = tokens_of(model, showing("What?", painted(tmp_path / "a.png"))).ids
    first = ids.index(next(filter(is_of_picture, ids)))
    words = model.tokenizer.decode([*ids[:first], model.sight.tokens.image_token_id, *ids[first + 16 :]])
    assert words == read
    # Text alone loses nothing either.
    assert "What?" in decode(model, tokens_of(model, Conversation.asking("What?")).ids)


def test_a_template_that_leaves_pictures_out_is_refused(tiny_llava, tmp_path):
    silent = "{% for m in messages %}{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}{% endfor %}"
    model = under(tiny_llava, silent)
    with pytest.raises(ModelError, match=r"The chat template leaves 1 of 1 pictures out"):
        tokens_of(model, showing("What?", painted(tmp_path / "a.png")))


def test_a_picture_that_is_gone_is_named(seer, tmp_path):
    conversation = showing("What?", painted(tmp_path / "a.png"))
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png does not exist"):
        tokens_of(seer, conversation)


def test_a_system_prompt_and_a_picture_can_be_asked(seer, tmp_path):
    asked = showing("What?", painted(tmp_path / "a.png"))
    need_askable(seer, Conversation(messages=(say("system", "Be brief."), *asked.messages)))
    need_askable(seer, Conversation(messages=(Message(role="user", parts=(*asked.pictures, Text(text="Hi"))),)))


def test_the_card_counts_the_whole_model_and_says_that_it_sees(seer, settings):
    card = describe_model(seer.spec, settings)
    assert card.sees_pictures and card.block_count == len(seer.blocks) == 2 and card.context_length == 512
    assert card.parameters == sum(parameter.numel() for parameter in seer.published.parameters())
    assert card.parameters > sum(parameter.numel() for parameter in seer.causal_lm.parameters())


def test_what_is_remembered_knows_how_the_processor_prepares_pictures(tmp_path, settings):
    """Other tiles are other vectors of the same picture."""
    folder = write_tiny_llava(tmp_path / "model", next=True)
    names = []
    for shape in (None, None, [[16, 32], [32, 16]]):
        if shape:
            file = next(one for one in folder.glob("*processor_config.json") if "image_grid" in one.read_text())
            content = json.loads(file.read_text())
            (content.get("image_processor") or content)["image_grid_pinpoints"] = shape
            file.write_text(json.dumps(content))
        model = load_model(ModelSpec(name=str(folder)), settings)
        names.append(words_fingerprint(model))
        assert names[-1].startswith(model_fingerprint(model))
    assert names[0] == names[1] != names[2]


def test_the_fingerprint_knows_tower_and_projector(tiny_llava):
    before = model_fingerprint(tiny_llava)
    with torch.no_grad():
        tiny_llava.published.model.multi_modal_projector.linear_1.bias += 1
    assert model_fingerprint(tiny_llava) != before
