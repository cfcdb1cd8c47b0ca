"""A trained model in one process, from a run's folder or one of its checkpoints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from megatron.core.tensor_parallel.mappings import gather_from_tensor_model_parallel_region
from torch import Tensor

from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from pipeline.checkpoints.format import Checkpoint, complete
from pipeline.checkpoints.run_folder import read_config
from pipeline.config import PipelineConfig
from pipeline.distributed import world
from pipeline.generation.session import Rows, Session
from pipeline.models.agent import LOCAL
from pipeline.models.build import Head
from pipeline.models.scalar import NAME as SCORE
from pipeline.objectives.model import model_layers
from pipeline.objectives.registry import objective_of
from pipeline.objectives.replacing import in_generator
from pipeline.parallel.stack import Stack
from pipeline.tasks.saved import task_in


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode, float32 on a CPU and bfloat16 on a GPU."""

    config: PipelineConfig
    vocabulary: Vocabulary
    device: torch.device
    module: Stack
    step: int

    @torch.inference_mode()
    def logits(self, tokens_BS: Tensor, **others: Tensor) -> Tensor:
        """Logits [B, S, V] of a decoder's or lone encoder's tokens, float32; `others` are further inputs.

        V counts the padding rows of the word table too.
        """
        inputs = {"tokens": tokens_BS, **others}
        outputs = self.module({name: tensor.to(self.device) for name, tensor in inputs.items()})
        whole_SBV = gather_from_tensor_model_parallel_region(outputs["logits"])
        return whole_SBV.transpose(0, 1).float()

    @torch.inference_mode()
    def continued(self, contexts: Rows, owners: Sequence[int], rows: Rows) -> Tensor:
        """Logits [B, 1 + S, V] of what follows a decoder's context and each token of a row behind it.

        `owners` has the number of each row's context, which is read once; rows may be empty.
        """
        session = self.session()
        width = max(map(len, rows))
        first_CV = session.start(contexts, width)
        owners_B = torch.tensor(owners, device=self.device)
        first_B1V = first_CV[owners_B].unsqueeze(1)
        if not width:
            return first_B1V
        session.select(owners_B)
        return torch.cat([first_B1V, session.follow([[*row, *[0] * (not row)] for row in rows])], dim=1)

    @torch.inference_mode()
    def embed(self, rows: Rows) -> Tensor:
        """[N, H] float32: the mean of each row's last hidden states, the encoder's where there is one."""
        return torch.stack([self._hidden(row).float().mean(dim=0) for row in rows])

    def _hidden(self, row: Sequence[int]) -> Tensor:
        tokens_1S = torch.tensor([[*row]], device=self.device)
        if self.config.model.architecture == "encoder_decoder":
            return self.module.encode({"encoder_tokens": tokens_1S})["memory"][:, 0]
        return self.module.hidden({"tokens": tokens_1S})[:, 0]

    def session(self, sources: Rows | None = None) -> Session:
        """Rows that the decoder goes on with, each behind an encoder's source where there is an encoder."""
        prefix = objective_of(self.config.objective).prefix
        return Session(self.module, self.device, self.config.context_length, prefix, sources)


def load_model(path: Path, average: bool = False) -> LoadedModel:
    """Load the newest checkpoint of a run folder, or the very checkpoint that `path` names.

    Of a generator and a discriminator it is the generator, which predicts words.
    Adapters are merged into the weights; with `average` these are their moving average.
    Raises `InputError` where there is none, where it is damaged, or where it does not fit its configuration.
    """
    checkpoint, run = find_checkpoint(path)
    check_speaks(checkpoint)
    config = read_config(run)
    if config.vision is not None:
        says = config.objective.kind == "image_answers"
        wanted = "it is asked about pictures: give --image FILE" if says else "a run on texts is expected"
        raise InputError(f"{run}: a model of images, which says no words by itself; {wanted}")
    vocabulary = Vocabulary(run / TOKENIZER)
    if (task := task_in(run, config, vocabulary)) is not None and not task.generates:
        raise InputError(
            f"{run}: tuned for {task.name}, it predicts no words any more; ask it with `bloomery predict`"
        )
    called = in_generator if config.generator else str
    return open_model(checkpoint, config.speaker, vocabulary, average, called=called)


def open_model(
    checkpoint: Checkpoint,
    config: PipelineConfig,
    vocabulary: Vocabulary,
    average: bool = False,
    head: Head | None = None,
    called: Callable[[str], str] = str,
) -> LoadedModel:
    """The model of a checkpoint, with another head than its objective's where one is given.

    `called` says under which names the checkpoint has its weights.
    """
    damage = checkpoint.damage()
    if damage:
        raise InputError(f"{checkpoint.folder}: {damage}; use an earlier checkpoint")
    device = world.start_alone(config.seed).device
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    module = Stack(model_layers(config, vocabulary.size, dtype, head)).to(device).eval()
    named = dict(module.named())
    checkpoint.check_fits({called(name): list(parameter.shape) for name, parameter in named.items()})
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(checkpoint.merged(called(name), average))
    return LoadedModel(config, vocabulary, device, module, checkpoint.index.step)


def check_speaks(checkpoint: Checkpoint) -> None:
    """`InputError` for a reward model, which scores answers and gives none, and for an agent, which acts."""
    if any(name.startswith(f"{LOCAL}.") for name in checkpoint.index.tensors):
        raise InputError(f"{checkpoint.folder}: an agent; a stage of kind act lets it act")
    if any(name.startswith(f"{SCORE}.") for name in checkpoint.index.tensors):
        raise InputError(f"{checkpoint.folder}: a reward model, which scores answers and gives none")


def find_checkpoint(path: Path) -> tuple[Checkpoint, Path]:
    """The checkpoint that `path` names or is the run folder of, and that run folder."""
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; a run or one of its checkpoints/step-N is expected")
    if (path / "checkpoints").is_dir():
        found = complete(path)
        if not found:
            raise InputError(f"{path}: the run has no complete checkpoint yet")
        return Checkpoint(found[-1]), path
    return Checkpoint(path), path.resolve().parent.parent
