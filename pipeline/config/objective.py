"""The recipe's `objective` section: what a model learns to predict."""

from typing import Literal

from pydantic import Field

from data_prep.contract.settings import Settings
from pipeline.config.diffusion import DiffusionConfig

NoiseKind = Literal["mask", "delete", "infill", "permute_sentences", "rotate"]

TRAINS: dict[str, tuple[str, ...]] = {
    "decoder": ("causal_lm", "prefix_lm"),
    "encoder": ("masked_lm", "replaced_tokens"),
    "encoder_decoder": ("span_corruption", "denoising"),
}
"""The objectives that train each architecture."""
ON_IMAGES = (
    *("image_classes", "masked_patches", "contrastive", "image_answers", "image_pages"),
    *("image_rationales", "quantised_patches", "image_tokens", "diffusion"),
)
"""Those that train what the section `vision` describes."""
IN_DECODER = ("image_answers", "image_pages")
"""Those of them whose model is a decoder of words that sees images."""
IN_TEXT = (*IN_DECODER, "image_rationales")
"""Those of them whose model says words about images."""


class ObjectiveConfig(Settings):
    later = frozenset(
        {
            "label_smoothing",
            "generator_share",
            "discriminator_weight",
            "span_boundary",
            "mixup",
            "cutmix",
            "normalised_patches",
            "diffusion",
            "questions",
            "pictures",
            "blind",
            "loss_on",
            "text_dropped",
            "says",
        }
    )

    kind: Literal[
        "causal_lm",
        "prefix_lm",
        "masked_lm",
        "replaced_tokens",
        "span_corruption",
        "denoising",
        "image_classes",
        "masked_patches",
        "contrastive",
        "image_answers",
        "image_pages",
        "image_rationales",
        "quantised_patches",
        "image_tokens",
        "diffusion",
    ] = "causal_lm"
    """What the model learns to predict: GPT's next token, with a prefix seen whole; BERT's, ELECTRA's, T5's,
    BART's; of images their classes (ViT), what hidden patches look like (MAE), which text goes with which
    (CLIP), the answers to questions about them (LLaVA), what is said of each on a page (Flamingo), what leads
    to an answer or the answer behind it (multimodal chain of thought), how a few codes say them (ViT-VQGAN),
    those codes one by one behind a text (Parti), what they were before noise (diffusion)."""
    noise_density: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of tokens that is hidden; null is as published: 0.15, 0.3 of the words for denoising, and 0.75 of
    the patches for masked_patches."""
    mean_span: float = Field(3.0, ge=1.0)
    """Mean length of hidden spans: tokens in span_corruption, words in denoising's infilling."""
    closing_sentinel: bool = False
    """Whether span_corruption targets end with one more sentinel: the paper's figure, not its code."""
    masking: Literal["token", "whole_word", "span"] = "token"
    """What masked_lm and replaced_tokens hide together: single tokens, whole words, or SpanBERT's spans of
    words."""
    static_masks: bool = False
    """Whether every epoch has the same samples with the same noise (BERT), or new ones (RoBERTa)."""
    sentence_task: Literal["none", "next_sentence", "sentence_order"] = "none"
    """masked_lm's second task: BERT's next sentence, or ALBERT's sentence order."""
    span_boundary: bool = False
    """Whether masked_lm's hidden spans are predicted from the tokens at their borders, too (SpanBERT)."""
    generator_share: float = Field(0.25, gt=0.0, le=1.0)
    """Width, heads and MLP of replaced_tokens' generator as shares of the model's, which is as deep."""
    discriminator_weight: float = Field(50.0, gt=0.0)
    """Weight of the discriminator's loss beside the generator's in replaced_tokens."""
    noises: tuple[NoiseKind, ...] = ("permute_sentences", "infill")
    """What denoising does to the text, in this order; the default is BART's choice."""

    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the wanted probability that is spread evenly over the vocabulary, in every cross-entropy."""

    mixup: float = Field(0.0, ge=0.0, le=1.0)
    """image_classes: parameter of the Beta distribution by which two images are mixed; 0 mixes none."""
    cutmix: float = Field(0.0, ge=0.0, le=1.0)
    """image_classes: the same for a box of one image in another; with both each pair has one of them."""
    normalised_patches: bool = True
    """masked_patches: whether a patch is wanted less its own mean over its own deviation."""

    diffusion: DiffusionConfig = DiffusionConfig()
    """diffusion: the noise, and what a denoiser says and is told."""
    questions: int = Field(1, ge=1, le=64)
    """image_answers: questions about a picture in one sample, drawn from those that fit."""
    pictures: int = Field(1, ge=1, le=16)
    """image_answers: pictures of one sample, each with its questions; image_pages: with its words."""
    blind: bool = False
    """image_answers, image_pages, image_rationales: whether the pictures are withheld, which leaves a model
    of texts."""
    loss_on: Literal["answers", "texts"] = "answers"
    """image_answers: whether answers alone are learned, or the questions too."""
    text_dropped: float = Field(0.1, ge=0.0, lt=1.0)
    """image_tokens: probability that an image is learned without its text, for guidance."""
    says: Literal["rationale", "answer", "answer_at_once"] = "rationale"
    """image_rationales: what is said to a question: the rationale; the answer, where the rationale is read
    behind the question; or the answer without any."""

    @property
    def has_sentence_task(self) -> bool:
        """Whether there is a second task beside the hidden tokens."""
        return self.sentence_task != "none"

    @property
    def hides_tokens(self) -> bool:
        """Whether single tokens of an encoder's text are hidden, each for a token."""
        return self.kind in ("masked_lm", "replaced_tokens")

    @property
    def density(self) -> float:
        """The share of tokens, words or patches that is hidden."""
        published = {"denoising": 0.3, "masked_patches": 0.75}
        return self.noise_density or published.get(self.kind, 0.15)
