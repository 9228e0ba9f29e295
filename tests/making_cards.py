"""Cards of real models, to reckon with where no weights are there."""

from engine.records.cards import ModelCard

BUNDLED = ModelCard(
    name="m", family="llama", block_count=30, d_model=576, parameters=134_515_008, block_parameters=3_540_096,
    context_length=8192, has_chat_template=True, modules={"q": (576, 576)}, device="cpu", dtype="float32",
    opening_tokens=25,
)  # fmt: skip
