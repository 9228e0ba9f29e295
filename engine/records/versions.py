"""Versions in what lasts. Files of an older product open; those of a newer one are refused in words.

Three rules. A record says the version of its format (`FormatVersion`). A field that is added to what a key is made of
is marked with `since`, and left out of the key while it has its default: no old key changes. What makes a cached thing
has a version that enters the thing's key (`marked`): made in another way, it is made again. Knows nothing of any
record.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from engine.records.errors import RunError

# Of records: raise it where an older product would misread a newer file.
FORMAT = 1


def _not_newer(version: int) -> int:
    if version > FORMAT:
        raise RunError(
            f"A file was written by a newer version of the workbench (format {version}, this one reads up to "
            f"{FORMAT}): update the workbench to open it."
        )
    return version


# Of a record that says none: the first. Reading a newer one raises RunError.
FormatVersion = Annotated[int, Field(ge=1), AfterValidator(_not_newer)]


def since(version: int) -> dict[str, Any]:
    """For a field's json_schema_extra: the version of the product's records that added it."""
    return {"since": version}


def stable(model: BaseModel) -> dict[str, Any]:
    """What a key is made of: all fields as JSON values, but those that were added later and are at their default."""
    content = model.model_dump(mode="json")
    by_alias = bool(type(model).model_config.get("serialize_by_alias"))
    for name, field in type(model).model_fields.items():
        key = (field.alias if by_alias else None) or name
        value = getattr(model, name)
        extra = field.json_schema_extra
        if isinstance(extra, Mapping) and "since" in extra and value == field.get_default(call_default_factory=True):
            del content[key]
        elif isinstance(value, BaseModel):
            content[key] = stable(value)
        elif isinstance(value, tuple) and value and all(isinstance(one, BaseModel) for one in value):
            content[key] = [stable(one) for one in value]
    return content


def stable_json(model: BaseModel) -> str:
    """As `stable`, as text."""
    return json.dumps(stable(model), separators=(",", ":"), ensure_ascii=False)


def marked(content: str, version: int) -> str:
    """What a key is made of, with the version of what makes the thing; the first version is not named, as it was before
    there were versions."""
    return content if version == 1 else f"{content}|version {version}"


def key_of(content: str, *, version: int = 1, length: int) -> str:
    """So many hexadecimal digits that two contents share only when they are equal, in the same version."""
    return hashlib.sha256(marked(content, version).encode()).hexdigest()[:length]
