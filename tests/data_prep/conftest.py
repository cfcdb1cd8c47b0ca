"""Property tests have no deadline: machines that run them are busy, and it is results that are tested."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
