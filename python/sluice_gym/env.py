"""The environment."""

import gymnasium
import grpc
import numpy as np

from sluice_gym import protocol, server

WAIT, SERVE = 0, 1

# What info["state"] has of a BatchState: all but the features. Those of the first version are always there, the others where they are known.
_ALWAYS = ("batch_size", "batch_age_ms", "upstream_p99_ms", "request_rate")
_STATE = [field.name for field in protocol.BatchState.DESCRIPTOR.fields if field.name != "features"]


class FlushEnv(gymnasium.Env):
    """When is a batch of requests that wait for the same answer worth a call?

    An episode is the traffic of one key of a coalescing gateway. Whenever a request arrives in a batch, and now and then in between, the agent
    says whether the batch is sent.

    Action
        0 waits, 1 sends the batch.

    Observation
        What the gateway's own network sees: numbers of the order of 1, all times in them relative to what a call is worth. A gateway sends the
        same as BatchState.features to an agent (see sluice_gym.serve). info["state"] has what they are made of, as the fields of BatchState.

    Reward
        Minus the cost since the last step, in calls: a call costs 1, and so does a waiting of call_cost_ms of one request. The traffic goes on
        after a call, so a discount should look some batches ahead.

    End
        Truncated after the requests of an episode; terminated at the end of a recording. info["cost"] is what the episode has cost, and with
        optimum=True info["optimum"] is then what the best schedule would have cost that knew all arrivals in advance. info["traffic"] is
        which one was drawn, "" for the default.

    Arguments, all optional
        address       host:port of a `sluice env`; without it one is started, which all environments of this process share
        binary        of sluice, to start; else $SLUICE_BIN, or sluice in the PATH
        traces        files of recorded arrivals that it may play, as traffic="trace:FILE"
        traffic       such as "poisson:300/s", "mmpp:5/s@2s,500/s@200ms", "flash:20/s,peak=2000/s,every=30s,decay=1s"; a list has each
                      episode draw one
        latency       of calls, such as "20ms" or "20ms,sigma=0.5"
        call_cost_ms  what a call is worth: how long one request may wait to save one; a list has each episode draw one
        hold_ms       a batch of this age is sent whatever the agent says
        max_batch     and so is one of this size; 0 is any size
        relaxed       whether requests may join a call that is under way
        requests      of an episode
        optimum       whether info tells at the end what the best schedule would have cost
    """

    metadata = {"render_modes": []}

    def __init__(
        self,
        address=None,
        binary=None,
        traces=(),
        traffic=None,
        latency=None,
        call_cost_ms=None,
        hold_ms=None,
        max_batch=None,
        relaxed=False,
        requests=None,
        optimum=False,
        render_mode=None,
    ):
        if render_mode is not None:
            raise ValueError(f"render_mode {render_mode!r}: there is nothing to see, expected None")
        self._traffic = _choices(traffic)
        self._call_cost_ms = _choices(call_cost_ms)
        self._scenario = protocol.Scenario(
            latency=latency or "", hold_ms=hold_ms, max_batch=max_batch, relaxed=relaxed, requests=requests or 0, optimum=optimum
        )
        self._session, self._give_back, self._channel = 0, None, None
        if address is None:
            shared, self._give_back = server.acquire(binary, traces)
            address = shared.address
        # A connection of its own: sessions end with it.
        self._channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)])
        self._reset = self._method("Reset", protocol.ResetReply)
        self._step = self._method("Step", protocol.StepReply)
        try:
            first = self._begin(seed=0)
        except Exception:
            self.close()
            raise
        self.observation_space = gymnasium.spaces.Box(-12, 12, (len(first.observation.features),), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        """Begin an episode. The same seed is the same traffic, and the same episodes after it."""
        super().reset(seed=seed)
        reply = self._begin(seed=int(self.np_random.integers(2**63)))
        return _observation(reply), self._info(reply)

    def step(self, action):
        """Send the batch, or wait."""
        reply = self._step(protocol.StepRequest(session=self._session, should_flush=int(action) == SERVE), wait_for_ready=True)
        return _observation(reply), reply.reward, reply.terminated, reply.truncated, self._info(reply)

    def close(self):
        """End the session, and the server if it was started for this and no other environment uses it."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._give_back is not None:
            self._give_back()
            self._give_back = None

    def _method(self, name, reply):
        return self._channel.unary_unary(
            f"/sluice_env.FlushEnv/{name}", request_serializer=lambda m: m.SerializeToString(), response_deserializer=reply.FromString
        )

    def _begin(self, seed):
        draw = np.random.default_rng(seed)
        scenario = protocol.Scenario()
        scenario.CopyFrom(self._scenario)
        if self._traffic:
            scenario.traffic = self._traffic[draw.integers(len(self._traffic))]
        if self._call_cost_ms:
            scenario.call_cost_ms = self._call_cost_ms[draw.integers(len(self._call_cost_ms))]
        reply = self._reset(protocol.ResetRequest(session=self._session, scenario=scenario, seed=seed), wait_for_ready=True, timeout=30)
        self._session, self._played = reply.session, scenario.traffic
        return reply

    def _info(self, reply):
        i = reply.info
        info = {
            "state": {name: getattr(reply.observation, name) for name in _STATE if name in _ALWAYS or reply.observation.HasField(name)},
            "traffic": self._played,
            "now_ms": i.now_ms,
            "requests": i.requests,
            "calls": i.calls,
            "joined": i.joined,
            "by_policy": i.by_policy,
            "by_hold": i.by_hold,
            "by_size": i.by_size,
            "waiting_ms": i.waiting_ms,
            "cost": i.cost,
        }
        if i.HasField("optimum"):
            info["optimum"] = i.optimum
        return info


def _choices(value):
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _observation(reply):
    return np.array(reply.observation.features, dtype=np.float32)
