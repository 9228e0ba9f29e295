"""A LLaVA of three parts: a vision tower, a projector, and a language model in a folder. Any transformers loads what is
written: stock classes, safetensors, a processor that needs Pillow alone. Knows nothing of packages or training."""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessorPil,
    Dinov2Model,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from engine.records.errors import ModelError, first_line
from engine.records.files import on_disk
from engine.records.packaged import COMPLETE

IMAGE_TOKEN = "<image>"
# As the published DINOv2 towers were trained.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def assemble(
    tower: Dinov2Model, language: Path, projector: Mapping[str, Tensor] | None, target: Path, *, side: int, block: int
) -> Path:
    """Write the model into `target` whole, its marker file last, in the place of one that is there.

    side: of a picture in pixels, to which the shorter one is resized before the middle is cut out; it is seen as
    (side / patch)^2 tokens.  block: whose output the projector reads, from 1.  projector: its weights; None: at random.
    Raises ModelError where projector and parts do not fit each other.
    """
    half: Any = AutoModelForCausalLM.from_pretrained(language, dtype="auto", use_safetensors=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(language)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    if len(tokenizer) > half.get_input_embeddings().num_embeddings:
        half.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    patch = int(tower.config.patch_size)  # type: ignore[arg-type]
    config = LlavaConfig(
        vision_config=tower.config,
        text_config=half.config,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=(side // patch) ** 2,
        vision_feature_layer=block,
        vision_feature_select_strategy="default",
        tie_word_embeddings=half.config.tie_word_embeddings,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = LlavaForConditionalGeneration(config).to(half.dtype)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.language_model.load_state_dict(half.get_decoder().state_dict())
    model.lm_head.load_state_dict(half.get_output_embeddings().state_dict())
    model.generation_config = half.generation_config
    if projector is not None:
        try:
            model.model.multi_modal_projector.load_state_dict(projector)
        except RuntimeError as error:
            raise ModelError(
                f"The projector fits other parts: {first_line(error)} Train it anew by --train."
            ) from error
    images = CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, image_mean=MEAN, image_std=DEVIATION
    )
    processor = LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE_TOKEN,
        chat_template=tokenizer.chat_template,
    )
    return _written(model, processor, target, made_of=_digest(projector, side))


def read_projector(file: Path) -> dict[str, Tensor]:
    """A projector's weights in float32. Raises ModelError where the file cannot be read."""
    try:
        return {name: weight.float() for name, weight in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The projector {file} cannot be read: {first_line(error)} Train it anew by --train."
        ) from error


def _digest(projector: Mapping[str, Tensor] | None, side: int) -> str:
    digest = hashlib.sha256(str(side).encode())
    for name, weight in sorted((projector or {}).items()):
        digest.update(name.encode() + weight.float().numpy().tobytes())
    return digest.hexdigest()[:16]


def _written(model: Any, processor: LlavaProcessor, target: Path, *, made_of: str) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".assembling-"))
    try:
        model.save_pretrained(temporary)
        processor.save_pretrained(temporary)
        on_disk(temporary)
        (temporary / COMPLETE).write_text(made_of, encoding="ascii")
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The assembled model could not be written to {target}: {first_line(error)} Free some space, or set "
            "WORKBENCH_CACHE to a larger disk, then assemble again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
