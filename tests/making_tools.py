"""Chat templates that take tools, each in the way of a family of models, and a tool to offer."""

import dataclasses

from making import byte_tokenizer
from transformers import PreTrainedTokenizerFast

from engine.compute.model.loaded import LoadedModel
from engine.compute.model.templates import TOOLS_IN_WORDS
from engine.records.conversation import Call, CannedResult, Conversation, Tool, say

SMALL = (
    "{% if tools %}TOOLS {{ tools | tojson }}\n{% endif %}{% for message in messages %}"
    "{{ message.role }}: {{ message.content }}{% if message.tool_calls %}{{ message.tool_calls | tojson }}{% endif %}\n"
    "{% endfor %}assistant:"
)
HERMES = (
    "{% if tools %}<|im_start|>system\n{% if messages[0].role == 'system' %}{{ messages[0].content }}\n{% endif %}"
    "Functions:{% for tool in tools %}\n{{ tool.function | tojson }}{% endfor %}<|im_end|>\n"
    "{% elif messages[0].role == 'system' %}<|im_start|>system\n{{ messages[0].content }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}{% if message.role == 'tool' %}"
    "<|im_start|>user\n<tool_response>{{ message.content }}</tool_response><|im_end|>\n"
    "{% elif message.role != 'system' %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}\n<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{% for message in messages %}{% if message.tool_calls %}"
    "{% if message.tool_calls | length > 1 %}{{ raise_exception('One call at a time!') }}{% endif %}"
    "{% set call = message.tool_calls[0].function %}<|start|>assistant<|end|>\n\n<|python_tag|>"
    '{"name": "{{ call.name }}", "parameters": {{ call.arguments | tojson }}}<|eom|>'
    "{% elif message.role == 'tool' %}<|start|>ipython<|end|>\n\n{{ message.content | tojson }}<|eot|>"
    "{% else %}<|start|>{{ message.role }}<|end|>\n\n{{ message.content }}"
    "{% if loop.first and tools %}\n{{ tools | tojson }}{% endif %}<|eot|>{% endif %}{% endfor %}"
    "<|start|>assistant<|end|>\n\n"
)
MISTRAL = (
    "{% for message in messages %}{% if message.role == 'user' %}"
    "{% if tools and loop.first %}[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "[INST] {{ message.content }}[/INST]{% elif message.tool_calls %}[TOOL_CALLS] ["
    "{% for call in message.tool_calls %}{% if call.id | length != 9 %}{{ raise_exception('Ids are nine letters!') }}"
    '{% endif %}{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}, '
    '"id": "{{ call.id }}"}{{ "" if loop.last else ", " }}{% endfor %}]</s>'
    "{% elif message.role == 'tool' %}"
    "{% if message.tool_call_id | length != 9 %}{{ raise_exception('Ids are nine letters!') }}{% endif %}"
    '[TOOL_RESULTS] {"content": {{ message.content | tojson }}, "call_id": "{{ message.tool_call_id }}"}[/TOOL_RESULTS]'
    "{% else %}{{ message.content }}</s>{% endif %}{% endfor %}"
)
# Two that take no tools, one without a system turn too.
IN_WORDS = (
    TOOLS_IN_WORDS + "{% for message in messages %}<|start|>{{ message.role }}<|end|>\n\n{{ message.content }}<|eot|>"
    "{% endfor %}<|start|>assistant<|end|>\n\n"
)
TAKING_TURNS = (
    TOOLS_IN_WORDS + "{% for message in messages %}"
    "{% if (message.role == 'user') == (loop.index0 % 2) %}{{ raise_exception('Turns must alternate!') }}{% endif %}"
    "{% if message.role == 'user' %}[INST] {{ message.content }} [/INST]{% else %}{{ message.content }}</s>{% endif %}"
    "{% endfor %}"
)
TEMPLATES = {
    "small": (SMALL, []),
    "hermes": (HERMES, ["<tool_call>", "</tool_call>"]),
    "llama": (LLAMA, ["<|python_tag|>", "<|start|>", "<|end|>", "<|eom|>", "<|eot|>"]),
    "in words": (IN_WORDS, ["<|start|>", "<|end|>", "<|eot|>"]),
    "taking turns": (TAKING_TURNS, ["[INST]", "[/INST]", "</s>"]),
    "mistral": (MISTRAL, ["[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "</s>"]),
}

WEATHER = Tool(
    name="get_weather",
    description="Weather of a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    results=(CannedResult(text='{"city": "{city}", "sky": "clear"}'),),
)
ASKED = Conversation(messages=(say("user", "How is the weather?"),), tools=(WEATHER,))
CALL = Call(name="get_weather", arguments={"city": 'Zürich "and" <round>'})


def speaking(model: LoadedModel, family: str) -> LoadedModel:
    """The model under a family's template, with vectors for the tokens that this adds."""
    template, special = TEMPLATES[family]
    tokenizer = tool_tokenizer(template, special)
    model.causal_lm.resize_token_embeddings(len(tokenizer))
    return dataclasses.replace(model, tokenizer=tokenizer)


def tool_tokenizer(template: str, special: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer(chat_template=template)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", *special]})
    return tokenizer
