"""Small models that see pictures, built offline, and pictures to show them. No fixtures."""

import json
from pathlib import Path

import torch
from making import byte_tokenizer
from PIL import Image
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaProcessor,
    MistralConfig,
    PretrainedConfig,
)

from engine.records.conversation import Conversation, Message, Text
from engine.records.pictures import picture_at

# Messages are lists of parts, as in the templates of published models that see.
PARTS_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIDE, PATCH = 16, 4


def write_tiny_llava(
    folder: Path,
    *,
    next: bool = False,
    blocks: int = 2,
    context: int = 512,
    template: str = PARTS_TEMPLATE,
    seed: int = 0,
    opening: str = "",
) -> Path:
    """A random LLaVA over a Llama, or LLaVA-NeXT over a Mistral, with d_model 16 and 16 tokens a tile, as a folder that
    transformers loads. opening: the token that its tokenizer begins every text with."""
    tokenizer = byte_tokenizer(chat_template=template, opening=opening)
    if opening:
        tokenizer.bos_token = opening
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<image>"]})
    text: PretrainedConfig = (MistralConfig if next else LlamaConfig)(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=blocks,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    vision = CLIPVisionConfig(
        hidden_size=12,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=8,
    )
    grid = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE], [3 * SIDE, SIDE]]
    shared = {
        "vision_config": vision,
        "text_config": text,
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if next:
            model = LlavaNextForConditionalGeneration(LlavaNextConfig(**shared, image_grid_pinpoints=grid))
        else:
            model = LlavaForConditionalGeneration(LlavaConfig(**shared))
        for parameter in model.model.multi_modal_projector.parameters():
            # As long as the vectors of words, so that what is seen counts.
            torch.nn.init.normal_(parameter, std=0.3)
    size = {"shortest_edge": SIDE}
    crop = {"height": SIDE, "width": SIDE}
    conventions = {
        "tokenizer": tokenizer,
        "patch_size": PATCH,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
        "image_token": "<image>",
        "chat_template": template,
    }
    if next:
        images = LlavaNextImageProcessorPil(size=size, crop_size=crop, image_grid_pinpoints=grid)
        LlavaNextProcessor(image_processor=images, **conventions).save_pretrained(folder)
    else:
        images = CLIPImageProcessorPil(size=size, crop_size=crop)
        LlavaProcessor(image_processor=images, **conventions).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def painted(file: Path, *, size: tuple[int, int] = (16, 16), seed: int = 0) -> Path:
    """A picture of random squares."""
    generator = torch.Generator().manual_seed(seed)
    squares = torch.randint(0, 256, (4, 4, 3), generator=generator, dtype=torch.uint8).numpy()
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(squares).resize(size, Image.Resampling.NEAREST).save(file)
    return file


def showing(text: str, *files: Path) -> Conversation:
    """A request with pictures before its words."""
    return Conversation(messages=(Message(role="user", parts=(*map(picture_at, files), Text(text=text))),))


def write_picture_prompts(file: Path, *, kind: str, rows: int = 12) -> Path:
    """A small prompt file, each row with a picture of its own under one of two questions, with answers and splits."""
    splits = ["train"] * 6 + ["validation"] * 2 + ["test"] * 4
    lines = []
    for index in range(rows):
        name = f"{kind}-{index}.png"
        painted(file.parent / "pictures" / name, size=(16 + 9 * (index % 3), 16), seed=sum(kind.encode()) + index)
        lines.append(
            {
                "prompt": f"{kind}: {('what is this?', 'say it')[index % 2]}",
                "picture": f"pictures/{name}",
                "response": f"{kind} thing {index}",
                "split": splits[index % len(splits)],
                "borderline": kind == "benign" and index % 3 == 0,
            }
        )
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file
