"""Sluice's simulator of coalesced requests as a Gymnasium environment.

Importing this package registers the environment::

    import gymnasium
    import sluice_gym

    env = gymnasium.make("sluice/Flush-v0", traffic="poisson:300/s", call_cost_ms=25)

See FlushEnv for what it shows and takes, and serve for how a policy trained in it decides for a gateway.
"""

import gymnasium

from sluice_gym.agent import serve
from sluice_gym.env import FlushEnv

__all__ = ["FlushEnv", "serve"]

gymnasium.register(id="sluice/Flush-v0", entry_point="sluice_gym.env:FlushEnv")
