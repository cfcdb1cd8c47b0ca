"""Tables of runs: what they may look like, and one sentence for each that is none."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.contract.settings import InputError
from pipeline.scaling.table import enough, read_table, varies

GOOD = [(1e7 * 2**row, 1e9 * 3**row, 4.0 - 0.2 * row) for row in range(6)]


def written(path: Path, text: str, name: str = "runs.csv") -> Path:
    (path / name).write_text(text, encoding="utf-8")
    return path / name


def table(head: str, rows: list[str]) -> str:
    return "\n".join([head, *rows]) + "\n"


def test_two_of_three_columns_give_the_third(tmp_path: Path) -> None:
    rows = [f"{n},{d},{loss}" for n, d, loss in GOOD]
    runs = read_table(written(tmp_path, table("N,D,Loss", rows)))
    n, d, loss = np.array(GOOD).T
    np.testing.assert_array_equal(runs.columns["flops"], 6 * n * d)
    np.testing.assert_array_equal(runs.columns["loss"], loss)
    assert (runs.flops_are, runs.counts, len(runs)) == ("6ND", "total", 6)
    rows = [f"{n},{6 * n * d},{loss}" for n, d, loss in GOOD]
    runs = read_table(written(tmp_path, table("Model Size,Training FLOP,loss", rows)))
    np.testing.assert_allclose(runs.columns["tokens"], d)
    assert runs.flops_are == "6ND"


def test_flops_that_are_given_stay(tmp_path: Path) -> None:
    rows = [f"{n},{d},{7 * n * d},{loss}" for n, d, loss in GOOD]
    runs = read_table(written(tmp_path, table("params,tokens,flops,val-loss", rows)))
    np.testing.assert_allclose(runs.columns["flops"] / runs.columns["tokens"] / runs.columns["parameters"], 7)
    assert runs.flops_are == "given"


def test_json_lines_are_the_same_table(tmp_path: Path) -> None:
    lines = [json.dumps({"parameters": n, "tokens": d, "loss": loss, "note": None}) for n, d, loss in GOOD]
    runs = read_table(written(tmp_path, "\n".join(lines), "runs.jsonl"))
    np.testing.assert_array_equal(runs.columns["tokens"], [d for _, d, _ in GOOD])


def test_parameters_are_counted_as_asked_where_both_are_there(tmp_path: Path) -> None:
    rows = [f"{n},{n / 2},{d},{loss}" for n, d, loss in GOOD]
    runs = read_table(written(tmp_path, table("params,non_embedding_params,tokens,loss", rows)))
    other = runs.counted("non-embedding")
    np.testing.assert_array_equal(other.columns["parameters"], runs.columns["parameters"] / 2)
    np.testing.assert_array_equal(other.columns["flops"], runs.columns["flops"] / 2)
    assert (runs.counts, other.counts, runs.counted("total").counts) == ("total", "non-embedding", "total")


def test_the_highest_losses_are_left_out_and_the_order_stays(tmp_path: Path) -> None:
    rows = [f"{n},{d},{loss}" for n, d, loss in GOOD]
    runs = read_table(written(tmp_path, table("n,d,loss", rows)), drop_highest=2)
    np.testing.assert_array_equal(runs.columns["loss"], [loss for *_, loss in GOOD[2:]])
    with pytest.raises(InputError, match="0 runs are too few"):
        read_table(tmp_path / "runs.csv", drop_highest=8)
    assert runs.run == ("4", "5", "6", "7"), "lines of the file"


ROWS = [f"{n},{d},{loss}" for n, d, loss in GOOD]
WRONG = {
    "no rows": ("n,d,loss\n", "the table has no rows"),
    "empty": ("", "the table has no rows"),
    "too few runs": (table("n,d,loss", ROWS[:3]), "3 runs are too few for a law"),
    "no loss": (table("n,d,perplexity", ROWS), "no column loss"),
    "NaN": (table("n,d,loss", [*ROWS, "1e9,1e10,nan"]), "line 8: loss is nan; a positive number"),
    "infinite": (table("n,d,loss", [*ROWS, "1e9,1e10,inf"]), "line 8: loss is inf; a positive number"),
    "zero": (table("n,d,loss", ["0,1e9,3", *ROWS]), "line 2: n is 0; a positive number"),
    "negative": (table("n,d,loss", ["1e7,-1e9,3", *ROWS]), "line 2: d is -1e9; a positive number"),
    "words": (table("n,d,loss", ["1e7,1e9,diverged", *ROWS]), "line 2: loss is diverged; a positive number"),
    "a cell left empty": (table("n,d,loss", ["1e7,,3", *ROWS]), "line 2: d is nothing; a positive number"),
    "a row too short": (table("n,d,loss", ["1e7,1e9", *ROWS]), "line 2: loss is nothing"),
    "a row too long": (table("n,d,loss", ["1e7,1e9,3,4", *ROWS]), "line 2: more cells"),
    "one thing twice": (table("n,params,loss", ROWS), "columns n and params are both parameters"),
    "rising": (
        table(
            "n,d,loss", [f"{n},{d},{loss}" for (n, d, _), (*_, loss) in zip(GOOD, GOOD[::-1], strict=True)]
        ),
        "the loss does not fall with compute",
    ),
    "level": (table("n,d,loss", [f"{n},{d},3" for n, d, _ in GOOD]), "the loss does not fall with compute"),
    "units": (table("n,d,loss", ["1e200,1e200,2", *ROWS]), "flops by C = 6ND is out of range"),
    "quotes": ('n,d,loss\n"1e7,1e9,3\n', "not a CSV table"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_bad_table_is_one_sentence(tmp_path: Path, kind: str) -> None:
    text, said = WRONG[kind]
    with pytest.raises(InputError, match=said) as told:
        read_table(written(tmp_path, text))
    assert str(told.value).startswith(str(tmp_path / "runs.csv"))
    assert "\n" not in str(told.value)


def test_a_file_that_is_no_table_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00n")
    with pytest.raises(InputError, match="not UTF-8"):
        read_table(tmp_path / "binary.csv")
    with pytest.raises(InputError, match="line 2: not a JSON object"):
        read_table(written(tmp_path, '{"n": 1, "d": 2, "loss": 3}\n[1]\n', "runs.jsonl"))
    with pytest.raises(InputError, match="row 2: no loss"):
        read_table(written(tmp_path, '{"n": 1, "d": 2, "loss": 3}\n{"n": 1, "d": 2}\n', "runs.jsonl"))


def test_a_column_that_does_not_vary_is_named(tmp_path: Path) -> None:
    rows = [f"1e8,{d},{loss}" for _, d, loss in GOOD]
    runs = read_table(written(tmp_path, table("n,d,loss", rows)))
    with pytest.raises(InputError, match=r"all runs have 1e\+08 in column parameters; form hoffmann needs 3"):
        varies(runs, "parameters", "hoffmann")
    assert len(varies(runs, "tokens", "hoffmann")) == 6
    with pytest.raises(InputError, match="no column unique_tokens"):
        varies(runs, "unique_tokens", "repeated")
    with pytest.raises(InputError, match="6 runs are too few; form repeated has 6 coefficients"):
        enough(runs, 6, "repeated")
