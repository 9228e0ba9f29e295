"""What stands in the tag of an argument is the text or the value that the schema of its tool takes."""

import pytest

from engine.records.calls import read_calls
from engine.records.conversation import Tool


@pytest.mark.parametrize(
    ("schema", "read"),
    [
        ({"type": ["string", "null"]}, "12"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "12"),
        ({"enum": ["12", "13"]}, "12"),
        ({"$ref": "#/$defs/digits"}, "12"),
        ({"type": "string", "maxLength": 1}, "12"),
        ({"type": ["string", "integer"]}, 12),
        ({"type": ["integer", "null"]}, 12),
        ({"description": "Any."}, 12),
        (True, 12),
        ({"$ref": "#/$defs/gone"}, 12),
    ],
    ids=str,
)
def test_digits_in_a_tag_stay_text_where_the_argument_takes_no_number(schema, read):
    parameters = {"type": "object", "properties": {"zip": schema}, "$defs": {"digits": {"type": "string"}}}
    text = "<function=book>\n<parameter=zip>\n12\n</parameter>\n<parameter=more>\n3\n</parameter>\n</function>"
    [call] = read_calls(text, [Tool(name="book", parameters=parameters)]).calls
    assert call.arguments == {"zip": read, "more": 3}


def test_a_word_that_both_text_and_no_value_may_be_is_read_by_its_looks():
    tool = Tool(name="book", parameters={"properties": {"zip": {"type": ["string", "null"]}}})
    text = "<function=book>\n<parameter=zip>\nnull\n</parameter>\n</function>"
    assert read_calls(text, [tool]).calls[0].arguments == {"zip": None}
