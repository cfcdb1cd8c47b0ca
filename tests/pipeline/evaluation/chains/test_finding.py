"""Answers found in texts, against published logs question by question."""

import lzma
import re
from pathlib import Path

import pytest

from pipeline.evaluation.chains.finding import Kind, find

LOGS = Path(__file__).parents[5] / "shared" / "data" / "cot_tasks"
PUBLISHED: list[tuple[str, Kind, int, float]] = [
    ("log_addsub_zero_shot_cot", "number", 395, 69.62025316455697),
    ("log_coin_flip_zero_shot", "yes_no", 500, 12.8),
    ("log_coin_flip_zero_shot_cot", "yes_no", 500, 91.4),
    ("log_multiarith_zero_shot", "number", 600, 17.666666666666668),
    ("log_multiarith_zero_shot_cot", "number", 600, 78.66666666666666),
]


@pytest.mark.parametrize(("name", "kind", "count", "accuracy"), PUBLISHED)
def test_every_answer_of_the_published_logs(name: str, kind: Kind, count: int, accuracy: float) -> None:
    path = LOGS / f"{name}.log.xz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    text = lzma.decompress(path.read_bytes()).decode()
    rows = re.findall(
        r"pred_before : (.*?)\npred_after : (.*?)\npred_list : .*?\nGT : (.*?)\n", text, re.DOTALL
    )
    assert len(rows) == count
    assert [find(before, kind) for before, _, _ in rows] == [after for _, after, _ in rows]
    right = sum(find(before, kind) == truth for before, _, truth in rows)
    assert 100 * right / count == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("text", "kind", "trigger", "answer"),
    [
        (" $1,250.", "number", "", "1250"),
        ("-3.5 degrees", "number", "", "-3.5"),
        ("no number", "number", "", ""),
        ("2 and 3. The answer is 5 of 7", "number", "The answer is", "5"),
        ("2 and 3 are 5", "number", "The answer is", "5"),
        (" Yes, it is.", "yes_no", "", "yes"),
        ("Among A to E it is B", "letter", "", "A"),
        (' "n k".', "letters", "", "nk"),
        (" as it is ", "text", "", "as it is"),
    ],
)
def test_rules_of_each_kind(text: str, kind: Kind, trigger: str, answer: str) -> None:
    assert find(text, kind, trigger) == answer
