"""How an attack searches the pixels of pictures: how far, by what steps, from where, how often. Knows nothing of
models, and not how many steps are taken: that is the attack's budget."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Of 255, in every colour.
Distance = Annotated[int, Field(ge=1, le=255)]
StepSize = Annotated[float, Field(gt=0, le=255)]
Restarts = Annotated[int, Field(ge=1, le=20)]


class PixelSearch(BaseModel):
    """epsilon: how far every colour may move from the picture's own, 32 as published.  random_start: anywhere within
    epsilon, else at the picture itself.  restarts: searches of which the one with the lowest loss of the target is
    kept, at each step that is answered. The paper states neither step size nor start nor restarts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epsilon: Distance = 32
    step_size: StepSize = 2.0
    random_start: bool = True
    restarts: Restarts = 1

    @property
    def words(self) -> str:
        """As it stands beside figures."""
        start = "a random start" if self.random_start else "the picture itself"
        best = f", the best of {self.restarts} searches" if self.restarts > 1 else ""
        return f"within {self.epsilon} of 255, by steps of {self.step_size:g}, from {start}{best}"
