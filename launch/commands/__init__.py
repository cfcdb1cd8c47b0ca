"""The commands of `bloomery`, by what they are for."""
