"""A small model that calls a function when it is asked and says what it heard back, taught here in a second, and a run
of it. No fixtures."""

from pathlib import Path

import torch
from making import byte_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from engine.compute.model.adapters import attach_adapter, remove_adapter
from engine.compute.model.loaded import LoadedModel
from engine.device import adapter_name
from engine.jobs.training import _keep_adapter
from engine.records.conversation import Call, CannedResult, Conversation, Message, Tool, say
from engine.records.runs import Run, create_run
from engine.records.sandbox import results_of
from engine.records.settings import Settings
from engine.records.spec import RunSpec
from engine.records.template_messages import template_messages, template_tools

# Short, so that a small model learns it soon: tools by name, calls in the way of Hermes.
TEMPLATE = (
    "{% if tools %}<|im_start|>tools{% for tool in tools %} {{ tool.function.name }}{% endfor %}<|im_end|>{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<tool_call>"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</tool_call>'
    "{% endfor %}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WEATHER = Tool(
    name="get_weather",
    description="Weather of a city.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Name of the city"}},
        "required": ["city"],
    },
    results=(CannedResult(text='{"city": "{city}", "sky": "clear"}'),),
)
QUESTION = "How is the weather in Bern?"
CALL = Call(name="get_weather", arguments={"city": "Bern"})
ANSWER = "The sky over Bern is clear."


def conversation() -> Conversation:
    """What it is taught: the question, its call, the canned result, its answer."""
    called = Message(role="assistant", parts=(CALL,))
    messages = (say("user", QUESTION), called, results_of([CALL], [WEATHER]), say("assistant", ANSWER))
    return Conversation(messages=messages, tools=(WEATHER,))


def write_calling_model(folder: Path, *, steps: int = 150) -> Path:
    """A Llama of two blocks as a folder that transformers loads, taught this one conversation."""
    tokenizer = byte_tokenizer(chat_template=TEMPLATE)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    text = str(
        tokenizer.apply_chat_template(
            template_messages(conversation()), tools=template_tools(conversation()), tokenize=False
        )
    )
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def finished_run(settings: Settings, model: LoadedModel, spec: RunSpec) -> Run:
    """A run of this model that ended with its adapter as it begins: with the spec's noise."""
    run = create_run(settings.runs, spec, name="caller")
    attach_adapter(model, adapter_name(run), spec.adapter, [0, 1], seed=0)
    _keep_adapter(model, adapter_name(run), run)
    remove_adapter(model, adapter_name(run))
    run.update(status="finished")
    return run
