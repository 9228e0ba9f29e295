"""Cards of real models, to reckon with where no weights are there."""

from engine.records.cards import ModelCard

BUNDLED = ModelCard(
    name="m", family="llama", block_count=30, d_model=576, parameters=134_515_008, block_parameters=3_540_096,
    context_length=8192, has_chat_template=True, modules={"q": (576, 576)}, device="cpu", dtype="float32",
    opening_tokens=25,
)  # fmt: skip
QWEN = ModelCard(
    name="packaged/Qwen2.5-Coder-0.5B-Instruct", family="qwen2", block_count=24, d_model=896, parameters=630_167_424,
    block_parameters=14_912_384, context_length=32768, has_chat_template=True,
    modules={"self_attn.q_proj": (896, 896), "mlp.up_proj": (896, 4864)}, device="cpu", dtype="float32",
    opening_tokens=24, head_parameters=136_134_656,
)  # fmt: skip
