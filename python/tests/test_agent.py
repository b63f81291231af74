import json
import os
import re
import subprocess
import threading
import urllib.request
from concurrent import futures

import grpc
import pytest

import sluice_gym
from sluice_gym import protocol, server


@pytest.fixture
def agent():
    """Serves policies, and stops what it has served."""
    served = []

    def serve(decide):
        served.append(sluice_gym.serve(decide, "127.0.0.1:0"))
        return f"127.0.0.1:{served[-1].port}"

    yield serve
    for s in served:
        s.stop(None).wait()


def ask(address, **state):
    with grpc.insecure_channel(address) as channel:
        decide = channel.unary_unary(
            "/rl_agent.RlAgent/Decide",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=protocol.FlushDecision.FromString,
        )
        return decide(protocol.BatchState(**state), timeout=30)


def test_serve(agent):
    address = agent(lambda state: state.batch_size >= 2 or (False, 7.5))
    assert ask(address, batch_size=2).should_flush
    answer = ask(address, batch_size=1)
    assert not answer.should_flush and answer.recheck_after_ms == 7.5


def test_policy_that_raises(agent):
    with pytest.raises(grpc.RpcError):
        ask(agent(lambda state: 1 / 0), batch_size=1)


class Program:
    """A running sluice."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([server.find_binary(), *arguments], stderr=subprocess.PIPE, text=True)
        self.lines = []

    def until(self, pattern):
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(pattern, line)
            if found:
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return found.groups()
        raise AssertionError("".join(self.lines))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def test_decides_for_a_gateway(agent):
    """The gateway asks a policy in Python: it sends three requests at once as one call."""
    features = []

    def three(state):
        features.append(list(state.features))
        return state.batch_size >= 3

    address = agent(three)
    with Program("origin", "--listen", "127.0.0.1:0") as origin:
        (upstream,) = origin.until(r"listening on (http://[0-9.:]+)")
        arguments = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--batch-timeout", "50s"]
        with Program("proxy", "--upstream", upstream, *arguments, "--policy", "remote", "--agent", address, "--agent-timeout", "10s") as proxy:
            (listen,) = proxy.until(r'"msg":"sluice is serving","listen":"([^"]+)"')
            with futures.ThreadPoolExecutor(3) as clients:
                answers = list(clients.map(lambda _: fetch(listen + "/a"), range(3)))
        assert answers == [answers[0]] * 3
        assert json.loads(fetch(upstream + "/_origin/stats"))["served"] == 1
    environment = sluice_gym.FlushEnv()
    try:
        assert all(len(f) == environment.observation_space.shape[0] for f in features)
    finally:
        environment.close()


def fetch(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=60) as response:
        return response.read()


def test_example_needs_torch_only_when_run():
    example = os.path.join(os.path.dirname(__file__), "..", "examples", "train_sb3.py")
    with open(example) as file:
        compile(file.read(), example, "exec")
