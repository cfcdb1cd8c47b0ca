"""The recipe's `parallel` section: the layout of a training."""

from typing import ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from data_prep.contract.settings import InputError, Settings


class ParallelConfig(Settings):
    tensor: PositiveInt = 1
    """Tensor parallel size: processes that share each layer's matrices."""
    pipeline: PositiveInt = 1
    """Pipeline parallel size: stages that the layers are split over."""
    data: PositiveInt | None = None
    """Data parallel size; null takes what the other two leave of the processes there are."""
    experts: PositiveInt = 1
    """Expert parallel size: data-parallel ranks that share the experts of each layer, whole ones each."""
    sequence: bool = False
    """Sequence parallelism: tensor-parallel ranks share the sequence where they do not share matrices."""
    zero_stage: int = Field(1, ge=0, le=3)
    """ZeRO stage: 1 shards optimizer states over data-parallel ranks, 2 gradients too, 3 parameters too."""
    recompute: Literal["none", "selective", "full"] = "none"
    """What is computed again in the backward pass to save memory: nothing, attention scores, whole layers."""
    offload: bool = False
    """Whether optimizer states and steps are on the host's memory and processor."""
    compile: bool = False
    """Whether each transformer layer is compiled by torch.compile."""

    later: ClassVar[frozenset[str]] = frozenset({"experts"})

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.experts > 1 and self.zero_stage == 3:
            raise ValueError(
                "experts on several ranks do not go with zero_stage 3, which cuts them; 0 to 2 do"
            )
        if self.experts > 1 and self.offload:
            raise ValueError("experts on several ranks do not go with offload; leave one of them out")
        if self.data is not None and self.data % self.experts:
            raise ValueError(f"data {self.data} is not divisible by experts {self.experts}")
        if self.pipeline > 1 and self.zero_stage > 1:
            raise ValueError(f"zero_stage {self.zero_stage} does not go with pipeline stages; 0 or 1 does")
        if self.offload and (self.zero_stage == 0 or self.pipeline > 1):
            raise ValueError("offload needs zero_stage 1 or more and no pipeline stages")
        if self.sequence and self.tensor == 1:
            raise ValueError("sequence shares the sequence over tensor ranks; it needs tensor 2 or more")
        return self

    def data_size(self, processes: int) -> int:
        """Data parallel size in a world of `processes`; InputError where the sizes do not multiply to it."""
        model = self.tensor * self.pipeline
        data = self.data or max(1, processes // model)
        if data * model != processes:
            raise InputError(
                f"parallel: tensor {self.tensor} x pipeline {self.pipeline} x data {data} is "
                f"{data * model} processes, but {processes} were started"
            )
        if data % self.experts:
            raise InputError(
                f"parallel: experts {self.experts} are shared by data-parallel ranks, and {data} of these is "
                "not divisible by it"
            )
        return data
