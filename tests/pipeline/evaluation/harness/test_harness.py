"""Our model class for lm-evaluation-harness beside its own, question by question, on real tasks."""

import json
import lzma
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from data_prep.contract.settings import InputError
from pipeline.conversion.imports import import_folder
from pipeline.evaluation.harness.run import Request, run_harness
from pipeline.generation.load import load_model
from tests.pipeline.conversion import published

PACKED = Path(__file__).parents[5] / "shared" / "data" / "eval_llmfoundry" / "local_data.tar.xz"
QUESTIONS, ANSWER = 4, 28
"""Of each task, and the longest answer in bytes."""
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


def is_short(line: bytes) -> bool:
    """Whether no answer is longer than a small model reads, which the harness' own model does not allow."""
    row = json.loads(line)
    answers = [*row.get("choices", []), row.get("continuation", "")]
    return all(len(one.encode()) <= ANSWER for one in answers)


def test_where_it_is_missing_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lm_eval", None)
    with pytest.raises(InputError, match=r"is not installed; pip install '\.\[lm-eval\]'"):
        run_harness(None, Request(["copa"]))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    pytest.importorskip("lm_eval")
    if not PACKED.is_file():
        pytest.skip(f"{PACKED} is not there")
    folder = tmp_path_factory.mktemp("tasks")
    found = []
    with tarfile.open(fileobj=BytesIO(lzma.decompress(PACKED.read_bytes()))) as tar:
        for member in tar.getmembers():
            name = member.name.removeprefix("./").removesuffix(".jsonl")
            if name in TASKS:
                file = tar.extractfile(member)
                assert file is not None
                path = folder / f"{Path(name).name}.jsonl"
                path.write_bytes(b"".join([line for line in file if is_short(line)][:40]))
                files = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(path)}}}
                found.append({"task": path.stem, "test_split": "test"} | files | TASKS[name])
    assert len(found) == len(TASKS)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
def test_scores_are_those_of_the_harness_own_model(
    name: str, tasks: list[dict[str, Any]], tmp_path: Path
) -> None:
    """A model with random weights; log-likelihoods to 1e-3 of sums of up to a few hundred float32 logs."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    from pipeline.evaluation.harness.model import HarnessModel

    published.build(name, tmp_path / "model")
    import_folder(tmp_path / "model", tmp_path / "run", lambda line: None)
    ours = HarnessModel(load_model(tmp_path / "run"))
    theirs = HFLM(
        pretrained=str(tmp_path / "model"),
        device="cpu",
        dtype="float32",
        batch_size=4,
        max_length=ours.max_length,
        prefix_token_id=ours.prefix_token_id,
    )
    found, wanted = (
        simple_evaluate(model=one, tasks=tasks, limit=QUESTIONS, bootstrap_iters=0, log_samples=True)
        for one in (ours, theirs)
    )
    for task, samples in wanted["samples"].items():
        assert len(found["samples"][task]) == len(samples) == QUESTIONS
        for one, other in zip(found["samples"][task], samples, strict=True):
            assert one["arguments"] == other["arguments"]
            for mine, reference in zip(one["resps"], other["resps"], strict=True):
                same(mine[0], reference[0], f"{name}, {task}")
    numbers = {
        task: {key: value for key, value in scores.items() if isinstance(value, int | float)}
        for task, scores in wanted["results"].items()
    }
    for task, scores in numbers.items():
        assert {key: found["results"][task][key] for key in scores} == pytest.approx(scores, rel=1e-3)


def same(mine: Any, reference: Any, where: str) -> None:
    """A text, a log-likelihood, or one with whether it is greedy."""
    if isinstance(reference, str):
        assert mine == reference, where
    elif isinstance(reference, tuple):
        assert mine[0] == pytest.approx(reference[0], abs=1e-3), where
        assert mine[1] == reference[1], where
    else:
        assert mine == pytest.approx(reference, abs=1e-3), where
