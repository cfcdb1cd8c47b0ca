"""A trained model in MLflow: the run and dataset it comes from, where its checkpoint is, its evaluation.

The weights stay where they are; MLflow gets the model's configuration and tokenizer, and its figures tied to
the dataset that they were measured on. Each model that a stage ended with is a version of the registered
model of its work folder, under the alias `pretrained` or `tuned`; so is an export that
`pipeline.reports.publish.register` is told of. Checkpoints on the way there are models without a version.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from data_prep.contract.settings import Settings
from pipeline.tracking.record import Message, read_state
from pipeline.tracking.server import KEY_TAG

FINGERPRINT_TAG = "bloomery.fingerprint"

DESCRIPTION = (
    "The models of one work folder, each with the figures of its evaluation: what pretraining and tuning "
    "ended with, and what was exported. The weights are where a version's description says."
)


class ModelDescription(Settings):
    name: str
    """What the model is called among those of its work folder; also the alias of its version."""
    registered: str | None
    """Name of the registered model; None makes no version of one."""
    fingerprint: str
    """Fingerprint of the training that made it; the same one is never registered twice."""
    step: int
    """Optimizer steps of its training."""
    checkpoint: str
    """Where its weights are."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Its architecture."""
    figures: dict[str, float] = Field(default_factory=dict)
    """What its evaluation found."""
    dataset_name: str
    """Name of the dataset that the figures are of."""
    dataset_digest: str
    """Fingerprint of that dataset."""
    base: str = ""
    """Fingerprint of the model that its training began with."""
    evaluation: str | None
    """The record of the evaluation's run, if there was one."""
    card: str = ""
    """What it is and how to use it, as markdown."""
    files: list[str] = Field(default_factory=list)
    """Small files that belong to it."""


def register_model(client: Any, run_id: str, message: Message) -> None:
    """Register the model that the run `run_id` trained."""
    about = ModelDescription.model_validate(message.content)
    experiment_id = client.get_run(run_id).info.experiment_id
    model = _find(client, experiment_id, run_id, about) or _create(client, experiment_id, run_id, about)
    _link(client, experiment_id, run_id, model.model_id, about)
    _link_base(client, experiment_id, run_id, about)
    _log_figures(client, run_id, model.model_id, about, message.time)
    if about.registered is not None:
        _add_version(client, run_id, model, about, about.registered)


def _find(client: Any, experiment_id: str, run_id: str, about: ModelDescription) -> Any:
    wanted = f"tags.`{FINGERPRINT_TAG}` = '{about.fingerprint}'"
    found = client.search_logged_models([experiment_id], filter_string=wanted)
    return next((one for one in found if one.source_run_id == run_id and one.status == "READY"), None)


def _create(client: Any, experiment_id: str, run_id: str, about: ModelDescription) -> Any:
    model = client.create_logged_model(
        experiment_id,
        name=about.name,
        source_run_id=run_id,
        tags={FINGERPRINT_TAG: about.fingerprint, "bloomery.checkpoint": about.checkpoint},
        params={name: str(value) for name, value in about.parameters.items()},
        model_type=about.name,
    )
    for path in about.files:
        if Path(path).is_file():
            client.log_model_artifact(model.model_id, path)
    return client.finalize_logged_model(model.model_id, "READY")


def _link(client: Any, experiment_id: str, run_id: str, model_id: str, about: ModelDescription) -> None:
    """The model is an output of its training and an input of its evaluation, where that is in this store."""
    from mlflow.entities import LoggedModelInput, LoggedModelOutput

    outputs = client.get_run(run_id).outputs
    if model_id not in {one.model_id for one in (outputs.model_outputs if outputs else [])}:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, about.step)])
    evaluation = read_state(Path(about.evaluation)) if about.evaluation else None
    if evaluation is None:
        return
    for run in client.search_runs([experiment_id], f"tags.`{KEY_TAG}` = '{evaluation.key}'", max_results=1):
        if model_id not in {one.model_id for one in run.inputs.model_inputs}:
            client.log_inputs(run.info.run_id, models=[LoggedModelInput(model_id)])


def _link_base(client: Any, experiment_id: str, run_id: str, about: ModelDescription) -> None:
    """The model that a training began with is an input of it."""
    from mlflow.entities import LoggedModelInput

    if not about.base:
        return
    wanted = f"tags.`{FINGERPRINT_TAG}` = '{about.base}'"
    found = client.search_logged_models([experiment_id], filter_string=wanted)
    there = {one.model_id for one in client.get_run(run_id).inputs.model_inputs}
    for model in found[:1]:
        if model.model_id not in there:
            client.log_inputs(run_id, models=[LoggedModelInput(model.model_id)])


def _log_figures(client: Any, run_id: str, model_id: str, about: ModelDescription, time: float) -> None:
    """The figures stand in a group of their own in the page of the training, beside its curves."""
    from mlflow.entities import Metric

    about_data = {"dataset_name": about.dataset_name, "dataset_digest": about.dataset_digest}
    metrics = [
        Metric(f"evaluation/{name}", value, int(time * 1000), about.step, model_id=model_id, **about_data)
        for name, value in about.figures.items()
    ]
    if metrics:
        client.log_batch(run_id, metrics=metrics)


def _add_version(client: Any, run_id: str, model: Any, about: ModelDescription, registered: str) -> None:
    from mlflow.exceptions import MlflowException

    source = model.artifact_location  # models:/ID would be looked up on the default server
    try:
        client.create_registered_model(registered, description=DESCRIPTION)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{registered}'")
    version = next((one for one in versions if one.source == source), None)
    if version is None:
        tags = {name: f"{value:.4f}" for name, value in about.figures.items()}
        words = f"{about.name}, step {about.step}: {about.checkpoint}\n\n{about.card}".strip()
        version = client.create_model_version(
            registered, source, run_id, tags=tags, description=words, model_id=model.model_id
        )
    client.set_registered_model_alias(registered, about.name, version.version)
