"""The tools and requests to agents that ship: enough, valid, balanced, and no near-duplicates."""

import json
import re
from collections import Counter

import numpy
import pytest
from near_duplicates import similarities

from engine.records.call_schemas import check_call, need_schema
from engine.records.conversation import Call, Tool
from engine.records.prompt_files import read_source
from engine.records.tool_prompts import DEFINITIONS, FOLDER, ToolDefinition, ToolPrompt, read_tool_prompts, read_tools

DOMAINS = {
    *("mail", "files", "payments", "browser", "messages", "calendar"),
    *("code_host", "smart_home", "search", "database", "shops", "travel"),
}
CATEGORIES = {
    *("fraud", "harassment", "privacy_intrusion", "malware_spread"),
    *("disinformation", "theft", "sabotage", "illegal_trade"),
}
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def tools() -> dict[str, ToolDefinition]:
    return read_tools()


@pytest.fixture(scope="module")
def harmful() -> list[ToolPrompt]:
    return read_tool_prompts("tools:harmful")


@pytest.fixture(scope="module")
def benign() -> list[ToolPrompt]:
    return read_tool_prompts("tools:benign")


def test_there_are_enough_tools_in_each_of_twelve_domains(tools):
    domains = Counter(one.domain for one in tools.values())
    assert domains.keys() == DOMAINS and min(domains.values()) >= 9 and len(tools) >= 120


def test_every_tool_has_a_schema_parameters_and_a_result_for_any_call(tools):
    for name, one in tools.items():
        properties = one.tool.parameters["properties"]
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name) and one.tool.description.endswith("."), name
        need_schema(one.tool)
        assert 2 <= len(properties) <= 6, name
        assert one.tool.parameters["required"] and all("description" in each for each in properties.values()), name
        assert one.tool.results[-1].when == {}, name


def test_results_are_json_name_only_arguments_and_are_meant_for_values_that_the_schema_takes(tools):
    for name, one in tools.items():
        properties = one.tool.parameters["properties"]
        for result in one.tool.results:
            json.loads(result.text)
            assert set(re.findall(r"\{(\w+)\}", result.text)) <= properties.keys(), name
            for argument, value in result.when.items():
                schema = {"type": "object", "properties": {argument: properties[argument]}}
                call = Call(name="part", arguments={argument: value})
                assert check_call(call, [Tool(name="part", parameters=schema)]) == (), name


def test_there_are_enough_requests(harmful, benign):
    assert len(harmful) >= 300 and len(benign) >= 500
    assert sum(prompt.borderline for prompt in benign) >= 150
    assert sum(prompt.call is not None and prompt.call.arguments is not None for prompt in benign) >= 300
    assert sum(prompt.expects_call is False for prompt in benign) >= 50


def test_every_category_domain_and_label_is_in_every_split(harmful, benign):
    for split in SPLITS:
        assert {prompt.category for prompt in harmful if prompt.split == split} == CATEGORIES
        assert {prompt.category for prompt in benign if prompt.split == split} == DOMAINS
        assert any(prompt.borderline for prompt in benign if prompt.split == split)
        assert any(prompt.expects_call is False for prompt in benign if prompt.split == split)


@pytest.mark.parametrize(("split", "share"), [("train", 0.70), ("validation", 0.12), ("test", 0.18)])
def test_the_splits_have_the_sizes_that_they_should(harmful, benign, split, share):
    for side in (harmful, benign):
        assert abs(sum(prompt.split == split for prompt in side) / len(side) - share) < 0.02


def test_ids_are_unique_and_sides_have_their_labels(harmful, benign):
    prompts = [*harmful, *benign]
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    assert {prompt.label for prompt in harmful} == {"harmful"} and {prompt.label for prompt in benign} == {"benign"}


def test_two_to_five_tools_are_offered_and_all_are_used(tools, harmful, benign):
    prompts = [*harmful, *benign]
    assert all(2 <= len(prompt.conversation.tools) <= 5 for prompt in prompts)
    called = {prompt.call.name for prompt in prompts if prompt.call is not None}
    assert called == tools.keys()


def test_every_harmful_request_names_the_call_that_would_be_made(harmful):
    assert all(prompt.call is not None and prompt.expects_call for prompt in harmful)


def test_harmful_rows_hold_a_request_and_nothing_that_answers_it():
    fields = {"id", "prompt", "tools", "call", "category", "style", "split", "label"}
    for line in (FOLDER / "harmful.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row.keys() == fields and row["call"].keys() == {"name"}
        assert len(row["prompt"].split()) <= 90


def test_every_harmful_request_has_benign_twins_that_offer_the_same_tools_in_its_split(harmful, benign):
    twins = Counter((prompt.split, _offered(prompt)) for prompt in benign)
    assert all(twins[prompt.split, _offered(prompt)] >= 3 for prompt in harmful)


@pytest.mark.parametrize("split", SPLITS)
def test_both_sides_have_the_same_mix_of_styles(harmful, benign, split):
    left, right = (_shares(prompt.style for prompt in side if prompt.split == split) for side in (harmful, benign))
    assert len(left) == 7 and left.keys() == right.keys()
    assert all(abs(left[style] - right[style]) < 0.03 for style in left)


@pytest.mark.parametrize("split", SPLITS)
def test_both_sides_offer_and_call_tools_of_the_same_domains(tools, harmful, benign, split):
    """Shares of the domains differ by less than 1 point in what is offered; by less than 6 in what is called."""

    def shares(side, names):
        return _shares(tools[name].domain for prompt in side if prompt.split == split for name in names(prompt))

    for names, bound in ((_offered, 0.01), (_called, 0.06)):
        left, right = shares(harmful, names), shares(benign, names)
        assert left.keys() == right.keys() == DOMAINS
        assert all(abs(left[domain] - right[domain]) < bound for domain in DOMAINS), (left, right)


def test_lengths_tell_the_sides_apart_no_better_than_a_little(harmful, benign):
    """Words a request, per style: the means of the sides differ by less than 25 %."""
    for style in {prompt.style for prompt in harmful}:
        means = [
            numpy.mean([len(prompt.text.split()) for prompt in side if prompt.style == style])
            for side in (harmful, benign)
        ]
        assert max(means) / min(means) < 1.25, (style, means)


def test_the_names_of_the_tools_alone_do_not_tell_the_sides_apart(harmful, benign):
    """A bag of words over what is offered or called, learnt on the training split: AUC near chance on the rest."""
    pytest.importorskip("sklearn")
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    for names in (_offered, _called):
        prompts = [prompt for prompt in (*harmful, *benign) if names(prompt)]
        labels = numpy.array([prompt.label == "harmful" for prompt in prompts])
        train = numpy.array([prompt.split == "train" for prompt in prompts])
        words = CountVectorizer(binary=True).fit_transform(" ".join(names(prompt)) for prompt in prompts)
        model = LogisticRegression(max_iter=1000).fit(words[train], labels[train])
        assert roc_auc_score(labels[~train], model.predict_proba(words[~train])[:, 1]) < 0.65


def test_no_near_duplicates_within_or_across_splits_or_with_the_text_sets(harmful, benign):
    """Word 3-gram Jaccard similarity below 0.4 between any two requests, sides mixed, the text sets beside them."""
    own = [(prompt.id, prompt.text) for prompt in (*harmful, *benign)]
    others = [(prompt.id, prompt.text) for name in ("harmful", "benign") for prompt in _text_set(name)]
    for left, right, similarity in similarities([text for _, text in (*own, *others)], len(own)):
        assert similarity < 0.4, (own[left], [*own, *others][right])


def test_nobody_real_can_be_reached(harmful, benign):
    """Addresses and links lead to .example, which never exists."""
    texts = [DEFINITIONS.read_text(), *(prompt.text for prompt in (*harmful, *benign))]
    texts += [json.dumps(prompt.call.arguments) for prompt in benign if prompt.call is not None]
    for text in texts:
        hosts = re.findall(r"(?:://|@)([\w.-]+\w)", text)
        assert all(host.endswith(".example") for host in hosts), hosts


def _text_set(name):
    return read_source(f"sample:{name}", label=name)


def _offered(prompt: ToolPrompt) -> tuple[str, ...]:
    return tuple(tool.name for tool in prompt.conversation.tools)


def _called(prompt: ToolPrompt) -> tuple[str, ...]:
    return () if prompt.call is None else (prompt.call.name,)


def _shares(values) -> dict[str, float]:
    counts = Counter(values)
    return {value: count / sum(counts.values()) for value, count in counts.items()}
