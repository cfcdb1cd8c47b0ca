"""What transformers calls the heads of fine-tuned models: a class for each family and form of task."""

from dataclasses import replace
from typing import Any, NamedTuple

from data_prep.contract.settings import InputError
from pipeline.config import ModelConfig
from pipeline.conversion.family import Family, Table
from pipeline.tasks.task import Task


class Named(NamedTuple):
    """A class of transformers, and our modules of the head to its."""

    name: str
    table: Table
    prefix: str = ""
    """What its names have before those of the family's body."""


OUT, DENSE, POOL = "classifier.out", "classifier.dense", "pooler.dense"
BERT_POOL: Table = {POOL: "bert.pooler.dense"}
ROBERTA_POOL: Table = {POOL: "roberta.pooler.dense"}
BOTH: Table = {DENSE: "classification_head.dense", OUT: "classification_head.out_proj"}

HEADS: dict[tuple[str, str], Named] = {
    ("bert", "text"): Named("BertForSequenceClassification", BERT_POOL | {OUT: "classifier"}),
    ("bert", "tokens"): Named("BertForTokenClassification", {OUT: "classifier"}),
    ("bert", "spans"): Named("BertForQuestionAnswering", {OUT: "qa_outputs"}),
    ("bert", "choices"): Named("BertForMultipleChoice", BERT_POOL | {OUT: "classifier"}),
    ("roberta", "text"): Named(
        "RobertaForSequenceClassification", {POOL: "classifier.dense", OUT: "classifier.out_proj"}
    ),
    ("roberta", "tokens"): Named("RobertaForTokenClassification", {OUT: "classifier"}),
    ("roberta", "spans"): Named("RobertaForQuestionAnswering", {OUT: "qa_outputs"}),
    ("roberta", "choices"): Named("RobertaForMultipleChoice", ROBERTA_POOL | {OUT: "classifier"}),
    ("distilbert", "tokens"): Named("DistilBertForTokenClassification", {OUT: "classifier"}),
    ("distilbert", "spans"): Named("DistilBertForQuestionAnswering", {OUT: "qa_outputs"}),
    ("electra", "tokens"): Named("ElectraForTokenClassification", {OUT: "classifier"}),
    ("electra", "spans"): Named("ElectraForQuestionAnswering", {OUT: "qa_outputs"}),
    ("gpt2", "text"): Named("GPT2ForSequenceClassification", {OUT: "score"}),
    ("opt", "text"): Named("OPTForSequenceClassification", {OUT: "score"}),
    ("bloom", "text"): Named("BloomForSequenceClassification", {OUT: "score"}),
    ("falcon", "text"): Named("FalconForSequenceClassification", {OUT: "score"}),
    ("llama", "text"): Named("LlamaForSequenceClassification", {OUT: "score"}),
    ("t5", "text"): Named("T5ForSequenceClassification", BOTH, prefix="transformer."),
    ("bart", "text"): Named("BartForSequenceClassification", BOTH),
}


def with_head(family: Family, task: Task) -> Family:
    """The family with the task's head in place of its own; `InputError` where there is no such class."""
    named = HEADS.get((family.model_type, task.form))
    narrow = task.config.model.word_size and task.config.model.word_size_of == "words"
    if named is None or narrow:
        raise InputError(
            f"transformers has no class of {family.model_type} for task.kind {task.name} with this model; "
            "`bloomery predict` asks it"
        )

    def table(model: ModelConfig) -> Table:
        """One name for the word table: the words that are predicted have gone."""
        body = {ours: theirs for ours, theirs in family.table(model).items() if ours != "head.table"}
        words = body["words.table"]
        body["words.table"] = words if isinstance(words, str) else words[0]
        return {ours: _prefixed(named.prefix, theirs) for ours, theirs in body.items()} | named.table

    return replace(family, classes=(named.name,), bare="", table=table, base=named.prefix or family.base)


def _prefixed(prefix: str, names: str | tuple[str, ...]) -> str | tuple[str, ...]:
    return prefix + names if isinstance(names, str) else tuple(prefix + name for name in names)


def about(task: Task) -> dict[str, Any]:
    """What config.json says of a task: its labels, and the scale of a regression's numbers."""
    found: dict[str, Any] = {"num_labels": task.outputs, "classifier_dropout": task.config.model.dropout}
    labels = list(task.learned.get("labels", ()))
    if labels:
        found |= {"id2label": dict(enumerate(labels)), "label2id": {one: i for i, one in enumerate(labels)}}
    if "deviation" in task.learned:
        found |= {"problem_type": "regression", "task_specific_params": {"regression": task.learned}}
    return found
