"""A student beside a teacher: the same losses, norms and metrics in every layout."""

import numpy as np

from pipeline.config import PipelineConfig
from pipeline.distributed import world
from pipeline.distributed.world import World
from pipeline.objectives.batches import Batch
from pipeline.objectives.distillation import Distillation, with_last_states
from pipeline.objectives.registry import objective_of
from pipeline.parallel.companion import Companion
from pipeline.stages.distill import with_teacher
from tests.distributed import toy
from tests.distributed.processes import leave_groups, run_world
from tests.distributed.test_companions import LAYOUTS, companion, config, engine, micro_batches

MODELS = {"gpt": (toy.GPT, toy.LLAMA | {"layers": 4}), "bert": (toy.BERT, toy.BERT | {"layers": 4})}


class Labelled:
    """Batches with a teacher's logits; `asked` is of how many at a time."""

    def __init__(self, teacher: Companion) -> None:
        self.teacher, self.asked = teacher, list[int]()

    def __call__(self, batches: list[Batch]) -> list[Batch]:
        self.asked.append(len(batches))
        return with_teacher(batches, {"teacher": self.teacher})


def asked_at(given: PipelineConfig, here: World, step: int) -> list[Batch]:
    """The batches of a step; an encoder's have weights of all tokens, of which some are none."""
    found = micro_batches(given, here, step)
    if given.model.architecture != "encoder":
        return found
    return [one | {"token_weights": (one["tokens"] % 7 > 0).astype(np.float32)} for one in found]


def distil(layout: tuple[int, int, int]) -> list[float]:
    """Loss, norm and metrics of three steps of each student."""
    found: list[float] = []
    for student, teacher in MODELS.values():
        given = config(student, layout)
        here = world.start(given.parallel, given.seed)
        objective = objective_of(given.objective)
        distilbert = given.model.architecture == "encoder"
        head = with_last_states(objective.head) if distilbert else None
        loss = Distillation(objective, 0.4, 2.0, every=distilbert, cosine=0.3 * distilbert)
        learner = engine(given, here, loss, head)
        beside = companion(config(teacher, layout), here, head)
        labelled = Labelled(beside)
        for step in range(3):
            batches = asked_at(given, here, step)
            found += [*learner.train_step(labelled(batches), 1e-2), *learner.metrics.values()]
        held = [*batches, *asked_at(given, here, 9)]
        labelled.asked.clear()
        parts = [learner.evaluate(held, labelled), *learner.metrics.values()]
        assert labelled.asked == 2 * [len(batches)]
        together = [learner.evaluate(labelled(held)), *learner.metrics.values()]
        np.testing.assert_allclose(parts, together, rtol=1e-6)
        found += parts
        leave_groups()
    world.stop()
    return found


def test_a_student_learns_the_same_in_every_layout() -> None:
    """To 1e-4 relative, as gradient norms are."""
    [alone] = run_world(1, distil, (1, 1, 1))
    assert len(alone) == 3 * (4 + 8) + 3 + 7, "BERT has those of its sentence task and of its states too"
    for layout in LAYOUTS[1:]:
        for rank in run_world(2, distil, layout):
            np.testing.assert_allclose(rank, alone, rtol=1e-4, err_msg=str(layout))
