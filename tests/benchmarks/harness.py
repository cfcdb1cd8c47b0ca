"""Our model class for lm-evaluation-harness beside its own on the exported run, question by question.

python -m tests.benchmarks.harness RUN FOLDER          # FOLDER: the unpacked tasks of eval_llmfoundry
"""

import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

QUESTIONS = 5
CHOICES = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{query}}",
    "doc_to_choice": "choices",
    "doc_to_target": "gold",
    "metric_list": [{"metric": name} for name in ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")],
}
GENERATED = {
    "output_type": "generate_until",
    "doc_to_text": "{{context}}",
    "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": 5},
    "metric_list": [{"metric": "exact_match"}],
}
TASKS: dict[str, dict[str, Any]] = {
    "commonsense_reasoning/copa": CHOICES,
    "commonsense_reasoning/piqa": CHOICES | {"num_fewshot": 1},
    "commonsense_reasoning/openbook_qa": CHOICES,
    "world_knowledge/arc_easy": CHOICES | {"num_fewshot": 2},
    "world_knowledge/arc_challenge": CHOICES,
    "language_understanding/winograd_wsc": {
        "output_type": "multiple_choice",
        "doc_to_text": "gold",
        "doc_to_choice": "context_options",
        "doc_to_target": "continuation",
        "metric_list": [{"metric": "acc"}],
    },
    "language_understanding/lambada_openai": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{context}}",
        "doc_to_target": "{{continuation}}",
        "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
    },
    "world_knowledge/jeopardy_all": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{context}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    },
    "symbolic_problem_solving/svamp": GENERATED | {"doc_to_target": "{{answer}}"},
    "symbolic_problem_solving/bigbench_simple_arithmetic": GENERATED
    | {"doc_to_target": "{{continuation}}", "num_fewshot": 3},
}


def main(run: Path, folder: Path) -> None:
    """Print for each task how many answers differ, and the largest difference of log-likelihoods."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    from pipeline.conversion.export import export
    from pipeline.evaluation.harness.model import HarnessModel
    from pipeline.evaluation.workers import Workers
    from pipeline.generation.load import load_model

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        export(run, place / "model", print)
        ours = HarnessModel(Workers(load_model(run)))
        length, first = ours.max_length, ours.prefix_token_id
        given: dict[str, Any] = {"device": "cpu", "dtype": "float32", "batch_size": 4}
        theirs = HFLM(pretrained=str(place / "model"), max_length=length, prefix_token_id=first, **given)
        tasks = [bounded(task(folder, place, name), ours.backend) for name in TASKS]
        found, wanted = (
            simple_evaluate(model=one, tasks=tasks, limit=QUESTIONS, bootstrap_iters=0)
            for one in (ours, theirs)
        )
    for name, samples in wanted["samples"].items():
        pairs = [
            (mine[0], other[0])
            for one, reference in zip(found["samples"][name], samples, strict=True)
            for mine, other in zip(one["resps"], reference["resps"], strict=True)
        ]
        worst = max(map(gap, pairs))
        print(f"{name}: {len(pairs)} answers, largest difference {worst:.2g}")


def task(folder: Path, place: Path, name: str) -> dict[str, Any]:
    """A task of the harness over the first rows of a file."""
    path = place / f"{Path(name).name}.jsonl"
    with (folder / f"{name}.jsonl").open("rb") as file:
        path.write_bytes(b"".join(islice(file, 60)))
    files = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(path)}}}
    return {"task": path.stem, "test_split": "test"} | files | TASKS[name]


def bounded(given: dict[str, Any], backend: str) -> dict[str, Any]:
    """The task with a bound that the harness's own encoder-decoder keeps, too.

    It takes `max_gen_toks` to be on top of as many tokens as its encoder reads.
    """
    how = given.get("generation_kwargs")
    if backend != "seq2seq" or how is None:
        return given
    return given | {"generation_kwargs": how | {"max_length": how["max_gen_toks"] + 1}}


def gap(pair: tuple[Any, Any]) -> float:
    """How far two answers are apart; infinite where texts or greedy answers differ."""
    mine, other = pair
    if isinstance(other, str):
        return 0.0 if mine == other else float("inf")
    if isinstance(other, tuple):
        return abs(mine[0] - other[0]) if mine[1] == other[1] else float("inf")
    return float(abs(mine - other))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
