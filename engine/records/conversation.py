"""One turn of what is said, and the label of what it asks for. Knows nothing of models or files."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Label = Literal["harmful", "benign"]


class Turn(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str
