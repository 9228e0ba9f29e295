"""Small tokenizers of the two kinds that models have. No fixtures."""

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def merging_tokenizer(template: str, special: list[str]) -> PreTrainedTokenizerFast:
    """Bytes with a few merges, two newlines among them: what follows a template's newline may merge with it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ċ", "Ċ"), ("S", "u"), ("r", "e"), ("Su", "re"), ("Ġ", "h"), ("Ġh", "e")]
    tokens = [*alphabet, *(left + right for left, right in merges)]
    inner = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, additional_special_tokens=special, pad_token="<pad>")
    tokenizer.chat_template = template
    return tokenizer


def sentence_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """Like SentencePiece in Llama 2 and Mistral: a space before the first word of whatever is tokenized."""
    letters = sorted(set("▁ ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz,.!'[]/\n0123456789"))
    merges = [("S", "u"), ("r", "e"), ("Su", "re"), ("▁", "Sure")]
    tokens = ["<unk>", *letters, *(left + right for left, right in merges)]
    inner = Tokenizer(
        models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges, unk_token="<unk>")
    )
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(content=" ", left=1, right=0)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, additional_special_tokens=["<s>", "</s>"], unk_token="<unk>", pad_token="<unk>"
    )
    tokenizer.chat_template = template
    return tokenizer
