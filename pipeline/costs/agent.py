"""Parameters of an agent."""

from pipeline.config import ModelConfig
from pipeline.config.agent import INTERVALS, Interface
from pipeline.config.vision import CHANNELS


def own_parameters(interface: Interface, model: ModelConfig) -> int:
    """Parameters that an agent has beside a decoder of its ids."""
    width = model.word_size or model.hidden_size
    count = interface.places * width
    if interface.image_size is None:
        return count
    channels, pixels = interface.patch_channels, interface.patch_size**2
    block = (9 * CHANNELS + 1) * channels + 2 * (9 * channels + 1) * channels + 4 * channels
    return count + block + (channels * pixels + 1) * width + 2 * INTERVALS * width
