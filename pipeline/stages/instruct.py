"""The kind of stage that tunes on instructions: a model and conversations to a model that answers."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.contract.dataset import MANIFEST, TOKENIZER, Dataset
from data_prep.contract.receipt import file_hash, read_receipt
from data_prep.contract.settings import InputError
from data_prep.contract.stages import DATASET, FILES, RUN, Input, Source, Stage
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.run_folder import INDEX, checkpoint_folder
from pipeline.config import TuneConfig
from pipeline.prompting.chat import ChatTemplate
from pipeline.prompting.published import PublishedTemplate
from pipeline.stages.files import CONVERSATIONS, TRAIN, VALIDATION
from pipeline.stages.training import (
    Training,
    check_model,
    check_tokenizer,
    config_of,
    find_start,
)
from pipeline.tuning.instructions import Conversation, dataset_files, read_conversations

if TYPE_CHECKING:
    from pipeline.distributed.world import World
    from pipeline.objectives.batches import BatchSource
    from pipeline.training.job import Job


class Instruct(Training):
    """`instruct`: learns the assistant's answers in conversations.

    Its data is JSONL files of instructions, a dataset whose preparation made some, what another stage made,
    or several of these.
    """

    name, section, mark, title = "instruct", "tune", "tune", "Instruction tuning"
    chats = True
    inputs = (Input("from", (RUN,)), Input("data", (DATASET, CONVERSATIONS, FILES), many=True))
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
        dataset = dataset_of(stage)
        start, run = find_start(source)
        if dataset:
            check_tokenizer(dataset, run)
        check_model(config, run, source.label)
        inputs = {"dataset": dataset.manifest.fingerprint} if dataset else {}
        inputs |= {"pretrained": mark_of(run, start)}
        inputs |= {name: file_hash(path) for name, (path, _) in files_by_place(stage).items()}
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


def is_dataset(source: Source) -> bool:
    """Whether the conversations are those of a dataset, and not of files."""
    made = (source.path / TRAIN).is_file()
    return (source.path / MANIFEST).is_file() or bool(source.stage and not made)


def conversation_files(stage: Stage) -> tuple[list[Path], list[Path]]:
    """Files to train on, and files to validate on where there are any."""
    named = files_by_place(stage)
    return [path for path, held_out in named.values() if not held_out], [
        path for path, held_out in named.values() if held_out
    ]


def files_by_place(stage: Stage) -> dict[str, tuple[Path, bool]]:
    """Each file and whether it validates, by what stands for it: two files may have one name."""
    found = {}
    for index, source in enumerate(stage.inputs["data"]):
        train, validation = files_of(source)
        alone = is_dataset(source) and len(stage.inputs["data"]) == 1
        for path, held_out in [(one, False) for one in train] + [(one, True) for one in validation]:
            name = path.name if alone else f"data[{index}]" + " validation" * held_out
            found[name] = (path, held_out)
    return found


def files_of(source: Source) -> tuple[list[Path], list[Path]]:
    """Files of one source to train and to validate on. `InputError` where there is none."""
    if is_dataset(source):
        return dataset_files(source.path)
    path = source.path / TRAIN if source.path.is_dir() else source.path
    if not path.is_file():
        raise InputError(f"{path}: no such file; a JSONL file of instructions is expected here")
    validation = source.path / VALIDATION
    return [path], [validation] if validation.is_file() and validation.stat().st_size else []


def dataset_of(stage: Stage) -> Dataset | None:
    """The dataset among what is read. `InputError` where there are two, or it is not there yet."""
    found = [source for source in stage.inputs["data"] if is_dataset(source)]
    for source in found:
        if source.stage and not (source.path / MANIFEST).is_file():
            raise InputError(f"{source.place}: the stage {source.stage} has not ended; run it first")
    if len(found) > 1:
        raise InputError(
            f"{stage.name}.data names {len(found)} datasets; one is expected, beside any number of files"
        )
    return Dataset(found[0].path) if found else None


def mark_of(run: Path, start: Path) -> str:
    """What stands for the weights to start from: the run's receipt, or a checkpoint's index."""
    receipt = read_receipt(run)
    if receipt is not None and start == checkpoint_folder(run, int(receipt.counts["steps"])):
        return receipt.fingerprint
    return file_hash(start / INDEX)
