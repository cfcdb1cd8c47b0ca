"""The kind of stage that tunes on instructions: a model and conversations to a model that answers."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.contract.dataset import MANIFEST, TOKENIZER
from data_prep.contract.receipt import file_hash, read_receipt
from data_prep.contract.settings import InputError
from data_prep.contract.stages import DATASET, FILES, RUN, Input, Stage
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.run_folder import INDEX, checkpoint_folder
from pipeline.config import TuneConfig
from pipeline.prompting.chat import ChatTemplate
from pipeline.prompting.published import PublishedTemplate
from pipeline.stages.training import (
    Training,
    check_model,
    check_tokenizer,
    config_of,
    find_dataset,
    find_start,
)
from pipeline.tuning.instructions import Conversation, dataset_files, read_conversations

if TYPE_CHECKING:
    from pipeline.distributed.world import World
    from pipeline.objectives.batches import BatchSource
    from pipeline.training.job import Job


class Instruct(Training):
    """`instruct`: learns the assistant's answers in conversations.

    Its data is JSONL files of instructions, or a dataset whose preparation made some.
    """

    name, section, mark, title = "instruct", "tune", "tune", "Instruction tuning"
    chats = True
    inputs = (Input("from", (RUN,)), Input("data", (DATASET, FILES), many=True))
    settings = TuneConfig

    def job(self, stage: Stage) -> "Job":
        """Tuning on the conversations; model and tokenizer are those of the run it starts from."""
        config = config_of(stage)
        if not config.can_answer:
            raise InputError(
                "model.architecture encoder has no answers to give, so there is nothing to tune; "
                "decoder and encoder_decoder have"
            )
        source = stage.source("from")
        assert source is not None
        dataset = find_dataset(stage) if reads_dataset(stage) else None
        start, run = find_start(source)
        if dataset:
            check_tokenizer(dataset, run)
        check_model(config, run, source.label)
        inputs = {"dataset": dataset.manifest.fingerprint} if dataset else {}
        inputs |= {"pretrained": mark_of(run, start)} | files_by_place(stage)
        if published := ChatTemplate(Vocabulary(run / TOKENIZER)).published:
            inputs["chat_template"] = published.sha256
        job = self.make_job(stage, dataset, inputs, start)
        return job if dataset else replace(job, tokenizer=run / TOKENIZER)

    def check(self, stage: Stage) -> None:
        """Every row of every file is a conversation that can be written, and some have an answer."""
        source = stage.source("from")
        assert source is not None
        published = ChatTemplate(Vocabulary(find_start(source)[1] / TOKENIZER)).published
        answers = []
        for path in chain(*conversation_files(stage)):
            for number, one in enumerate(read_conversations(path), 1):
                answers.append(
                    any(message.role == "assistant" and message.content.strip() for message in one)
                )
                if published:
                    check_talk(published, one, f"{path}, conversation {number}")
        if sum(answers) < 2:
            names = ", ".join(str(path) for path in chain(*conversation_files(stage)))
            raise InputError(
                f"{names}: {sum(answers)} of {len(answers)} conversations have an answer to learn, and at "
                "least 2 are needed: one to train on, one to validate on"
            )

    def batches(self, stage: Stage, job: "Job", world: "World") -> "BatchSource":
        """Conversations, padded, with loss on the answers."""
        from pipeline.tuning.batches import InstructionBatches

        files = conversation_files(stage)
        return InstructionBatches(job.config, job.vocabulary, *files, world.data_rank, world.data_size)


def check_talk(template: PublishedTemplate, talk: Conversation, where: str) -> None:
    """`InputError` where the tokenizer's own template cannot write a conversation."""
    try:
        template.answers(talk)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def reads_dataset(stage: Stage) -> bool:
    """Whether the conversations are those of a dataset, and not of files."""
    first = stage.inputs["data"][0]
    return bool(first.stage) or (first.path / MANIFEST).is_file()


def conversation_files(stage: Stage) -> tuple[list[Path], list[Path]]:
    """Files to train on, and files to validate on where there are any."""
    if reads_dataset(stage):
        return dataset_files(stage.inputs["data"][0].path)
    return [source.path for source in stage.inputs["data"]], []


def files_by_place(stage: Stage) -> dict[str, str]:
    """The hash of each file, by what stands for it in the recipe: two files may have one name."""
    train, validation = conversation_files(stage)
    if reads_dataset(stage):
        return {path.name: file_hash(path) for path in [*train, *validation]}
    for path in train:
        if not path.is_file():
            raise InputError(f"{path}: no such file; a JSONL file of instructions is expected here")
    return {f"data[{index}]": file_hash(path) for index, path in enumerate(train)}


def mark_of(run: Path, start: Path) -> str:
    """What stands for the weights to start from: the run's receipt, or a checkpoint's index."""
    receipt = read_receipt(run)
    if receipt is not None and start == checkpoint_folder(run, int(receipt.counts["steps"])):
        return receipt.fingerprint
    return file_hash(start / INDEX)
