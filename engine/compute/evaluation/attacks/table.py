"""Which function carries out which attack. Their cards are in engine.records.evaluation.attacks."""

from engine.compute.evaluation.attacks.attempt import Attack
from engine.compute.evaluation.attacks.embedding import embedding, embedding_adaptive
from engine.compute.evaluation.attacks.finetuning import finetuning
from engine.compute.evaluation.attacks.forced_call import forced_arguments, forced_call
from engine.compute.evaluation.attacks.gcg import gcg
from engine.compute.evaluation.attacks.injection import injection
from engine.compute.evaluation.attacks.pixels import pgd, pgd_prefill
from engine.compute.evaluation.attacks.plain import direct, prefill
from engine.compute.evaluation.attacks.steering import steering
from engine.compute.evaluation.attacks.universal import pgd_universal
from engine.compute.evaluation.attacks.wording import best_of_n, encodings, many_turns, templates

ATTACK_FUNCTIONS: dict[str, Attack] = {
    "direct": direct,
    "forced_call": forced_call,
    "forced_arguments": forced_arguments,
    "injection": injection,
    "prefill": prefill,
    "templates": templates,
    "many-turns": many_turns,
    "encodings": encodings,
    "best-of-n": best_of_n,
    "embedding": embedding,
    "embedding-adaptive": embedding_adaptive,
    "gcg": gcg,
    "pgd": pgd,
    "pgd-prefill": pgd_prefill,
    "pgd-universal": pgd_universal,
    "steering": steering,
    "finetuning": finetuning,
}
