"""Settings that every test shares."""

from hypothesis import settings

# The same examples on each run, and no verdict that depends on how busy the machine is.
settings.register_profile("keeper", deadline=None, derandomize=True)
settings.load_profile("keeper")
