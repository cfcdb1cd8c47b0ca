"""A student beside a teacher: the same losses, norms and metrics in every layout."""

import numpy as np
from megatron.core import parallel_state

from pipeline.distributed import world
from pipeline.objectives.distillation import TEACHER, Distillation
from pipeline.objectives.registry import objective_of
from tests.distributed import toy
from tests.distributed.processes import run_world
from tests.distributed.test_companions import LAYOUTS, companion, config, engine, micro_batches

MODELS = {"gpt": (toy.GPT, toy.LLAMA | {"layers": 4}), "bert": (toy.BERT, toy.BERT | {"layers": 4})}


def distil(layout: tuple[int, int, int]) -> list[float]:
    """Loss, norm and metrics of three steps of each student."""
    found: list[float] = []
    for student, teacher in MODELS.values():
        given = config(student, layout)
        here = world.start(given.parallel, given.seed)
        loss = Distillation(objective_of(given.objective), share=0.4, temperature=2.0)
        learner, beside = engine(given, here, loss), companion(config(teacher, layout), here)
        for step in range(3):
            batches = micro_batches(given, here, step)
            outputs = beside.forward(batches) or [{}] * len(batches)
            labelled = [
                batch | ({TEACHER: flow["logits"]} if flow else {})
                for batch, flow in zip(batches, outputs, strict=True)
            ]
            found += [*learner.train_step(labelled, 1e-2), *learner.metrics.values()]
        parallel_state.destroy_model_parallel()
    world.stop()
    return found


def test_a_student_learns_the_same_in_every_layout() -> None:
    """To 1e-4 relative, as gradient norms are."""
    [alone] = run_world(1, distil, (1, 1, 1))
    assert len(alone) == 3 * (4 + 7), "BERT has the metrics of its sentence task too"
    for layout in LAYOUTS[1:]:
        for rank in run_world(2, distil, layout):
            np.testing.assert_allclose(rank, alone, rtol=1e-4, err_msg=str(layout))
