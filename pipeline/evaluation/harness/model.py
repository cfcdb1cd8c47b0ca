"""A model as lm-evaluation-harness asks it: log-likelihoods, rolling ones, generation until a text.

What is asked is cut into tokens as the harness's own Hugging Face model does it, and scored in batches of
similar length. An empty context is the start of a document; an encoder reads a text in what its objective has
around it. Imports the harness, so it is itself imported where that is needed alone.

Equal to the harness's own model but for four things: rows of a published word table that are of no token get
no share of the probability; a folder whose two tokenizers give other ids is read by the SentencePiece model;
our own runs' empty context is the end of a document, as in training, which the harness's own model takes with
`prefix_token_id`; and an encoder-decoder says at most `max_gen_toks` tokens, where the harness's own may say
as many more as its encoder reads.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from pipeline.evaluation.scoring import Continuation, score
from pipeline.evaluation.tasks.answers import answer_texts, until
from pipeline.evaluation.workers import Workers
from pipeline.generation.model import has_encoder
from pipeline.generation.sampling import Sampling
from pipeline.objectives.registry import objective_of
from pipeline.prompting.text import framed

MOST_TOKENS = 256
"""Longest answer where a task says none."""
LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names by which tasks give it, the one that counts first."""


class HarnessModel(TemplateLM):
    """One of our models in the harness's terms."""

    def __init__(self, workers: Workers, seed: int = 0) -> None:
        """Every process of `workers` has a share of what is asked."""
        super().__init__()
        self.workers, model = workers, workers.model
        self.model, self.vocabulary, self.seed = model, model.vocabulary, seed
        self.backend = "seq2seq" if has_encoder(model) else "causal"
        self.cut = 0
        """How many contexts and answers had no room, and lost their beginning."""

    @property
    def eot_token_id(self) -> int:
        """What ends a document."""
        return self.vocabulary.eos

    @property
    def prefix_token_id(self) -> int:
        """What stands in the place of an empty context: a published tokenizer's `bos_token` if it has one."""
        return self.vocabulary.eos if self.vocabulary.frame is None else self.vocabulary.bos

    @property
    def max_length(self) -> int:
        """Most tokens that the model reads."""
        return self.model.config.context_length

    @property
    def tokenizer_name(self) -> str:
        """Stands for the tokenizer in the harness's caches."""
        return self.vocabulary.sha256

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **others: Any) -> list[int]:
        """Ids of a text, in what tokenizer or encoder have around it unless told not to."""
        del others
        ids = self.vocabulary.encode(string)
        if add_special_tokens is False or (self.vocabulary.frame is None and not has_encoder(self.model)):
            return ids
        return framed(objective_of(self.model.config.objective), self.vocabulary, ids)

    def _loglikelihood_tokens(self, requests: Sequence[Any], **others: Any) -> list[tuple[float, bool]]:
        """The log-likelihood of each continuation, and whether it is what the model would say."""
        del others
        scored = self.workers.map(score, [self._cut(context, answer) for _, context, answer in requests])
        return [(one.log_likelihood, one.greedy) for one in scored]

    def _cut(self, context: Sequence[int], answer: Sequence[int]) -> Continuation:
        """What fits of both: each loses its beginning."""
        said = list(answer)[-self.max_length :]
        room = self.max_length if has_encoder(self.model) else self.max_length + 1 - len(said)
        self.cut += len(said) < len(answer) or room < len(context)
        return Continuation(list(context)[-room:], said)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-likelihood of whole texts, in windows."""
        del disable_tqdm
        windows, owners = [], []
        for owner, request in enumerate(requests):
            tokens = self.tok_encode(request.args[0])
            for pair in get_rolling_token_windows(
                tokens, self.prefix_token_id, self.max_length, context_len=1
            ):
                windows.append((None, *make_disjoint_window(pair)))
                owners.append(owner)
        totals = [0.0] * len(requests)
        for owner, (log, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[owner] += log
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What follows each context, up to one of the texts that stop it."""
        del disable_tqdm
        alike: dict[str, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            alike[repr(sorted(request.args[1].items()))].append(index)
        found = [""] * len(requests)
        for indices in alike.values():
            contexts = [requests[index].args[0] for index in indices]
            answers = self._answers(contexts, requests[indices[0]].args[1])
            for index, answer in zip(indices, answers, strict=True):
                found[index] = answer
        return found

    def _answers(self, contexts: Sequence[str], how: dict[str, Any]) -> list[str]:
        most = int(next((how[name] for name in LENGTHS if name in how), MOST_TOKENS))
        stops = how.get("until") or []
        stops = [stops] if isinstance(stops, str) else [one for one in stops if one]
        room = self.max_length if has_encoder(self.model) else max(1, self.max_length - most)
        encoded = [self.tok_encode(one) or [self.prefix_token_id] for one in contexts]
        self.cut += sum(len(one) > room for one in encoded)
        prompts = [one[-room:] for one in encoded]
        sampled = how.get("do_sample", False)
        sampling = Sampling(
            temperature=float(how.get("temperature", 1.0)) if sampled else 0.0,
            top_k=int(how.get("top_k", 0)),
            top_p=float(how.get("top_p", 1.0)),
            seed=self.seed,
        )
        ask = partial(answer_texts, max_tokens=most, stops=stops, sampling=sampling)
        return [until(text, stops) for text, _ in self.workers.map(ask, prompts)]
