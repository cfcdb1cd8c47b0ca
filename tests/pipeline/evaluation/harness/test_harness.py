"""lm-evaluation-harness is an optional extra."""

import sys

import pytest

from data_prep.contract.settings import InputError
from pipeline.evaluation.harness.run import Request, run_harness


def test_where_it_is_missing_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(InputError, match=r"is not installed; pip install '\.\[lm-eval\]'"):
        run_harness(None, Request(["copa"]))  # type: ignore[arg-type]
