import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sluice_gym
from sluice_gym import server

SHORT = {"traffic": "poisson:300/s", "requests": 200}


@pytest.fixture
def make():
    made = []

    def make(**arguments):
        env = gymnasium.make("sluice/Flush-v0", **arguments)
        made.append(env)
        return env

    yield make
    for env in made:
        env.close()


def play(env, decide, seed):
    """Play an episode and return its observations, the sum of its rewards, and what was told at its end."""
    observation, info = env.reset(seed=seed)
    observations, total, over = [observation], 0.0, False
    while not over:
        observation, reward, terminated, truncated, info = env.step(decide(info["state"]))
        observations.append(observation)
        total += reward
        over = terminated or truncated
    return np.array(observations), total, terminated, info


def always(state):
    return 1


def balance(state):
    return int(state["waiting_ms"] >= state["call_cost_ms"])


def test_check_env(make):
    check_env(make(**SHORT).unwrapped)


def test_check_env_of_the_defaults(make):
    check_env(make().unwrapped, skip_render_check=True)


def test_rewards_are_the_cost(make):
    env = make(optimum=True, call_cost_ms=25.0, **SHORT)
    for decide in (always, balance):
        observations, total, terminated, info = play(env, decide, seed=3)
        assert not terminated and info["requests"] == 200
        assert total == pytest.approx(-info["cost"])
        assert info["cost"] == pytest.approx(info["calls"] + info["waiting_ms"] / 25)
        assert info["calls"] == info["by_policy"] + info["by_hold"] + info["by_size"]
        assert 1 <= info["optimum"] <= info["cost"]
        assert observations.shape[1:] == env.observation_space.shape
        assert all(observation in env.observation_space for observation in observations)


def test_always_sending_makes_a_call_for_each(make):
    _, total, _, info = play(make(**SHORT), always, seed=1)
    assert info["calls"] == 200 and total == -200


def test_balance_beats_always_sending_dense_traffic(make):
    env = make(traffic="poisson:2000/s", requests=500)
    assert play(env, balance, seed=1)[1] > play(env, always, seed=1)[1] / 2


def test_seeds(make):
    one, other = make(**SHORT), make(**SHORT)
    first = play(one, balance, seed=5)
    assert np.array_equal(first[0], play(other, balance, seed=5)[0])
    assert not np.array_equal(first[0], play(other, balance, seed=6)[0])
    # The episodes after a seed are the same, too, and not the same as each other.
    again = []
    for env in (one, other):
        env.reset(seed=7)
        again.append(play(env, balance, seed=None)[0])
    assert np.array_equal(*again)
    assert not np.array_equal(again[0], play(one, balance, seed=None)[0])


def test_drawn_from_lists(make):
    env = make(traffic=["poisson:5/s", "poisson:2000/s"], call_cost_ms=[5, 50], requests=3)
    infos = [env.reset()[1] for _ in range(40)]
    assert {info["state"]["call_cost_ms"] for info in infos} == {5, 50}
    assert {info["traffic"] for info in infos} == {"poisson:5/s", "poisson:2000/s"}


def test_scenario_is_told(make):
    _, info = make(hold_ms=10, max_batch=7, relaxed=True, call_cost_ms=3, latency="5ms", requests=10).reset(seed=1)
    state = info["state"]
    assert (state["hold_ms"], state["max_batch"], state["relaxed"], state["call_cost_ms"]) == (10, 7, True, 3)
    assert state["batch_size"] == 1 and state["arrival"] and "since_arrival_ms" not in state


def test_recording(make, tmp_path):
    recording = tmp_path / "times.csv"
    recording.write_text("".join(f"{10 * i}\n" for i in range(20)))
    env = make(traces=[str(recording)], traffic=f"trace:{recording}")
    _, total, terminated, info = play(env, always, seed=1)
    assert terminated and info["requests"] == 20 and total == -20 and info["now_ms"] == 190


@pytest.mark.parametrize(
    "arguments, wants",
    [({"traffic": "rain"}, "traffic"), ({"call_cost_ms": 0}, "call_cost_ms"), ({"traffic": "trace:/etc/passwd"}, "no recording")],
)
def test_wrong_scenario(arguments, wants):
    with pytest.raises(Exception, match=wants):
        gymnasium.make("sluice/Flush-v0", **arguments)


def test_environments_share_a_process_until_the_last_is_closed():
    envs = [gymnasium.make("sluice/Flush-v0", **SHORT) for _ in range(3)]
    (entry,) = server._servers.values()
    process = entry[0]._process
    for env in envs:
        assert process.poll() is None
        env.reset(seed=1)
        env.close()
    assert process.poll() == 0 and not server._servers


def test_address(make):
    given, give_back = server.acquire()
    env = make(address=given.address, **SHORT)
    env.reset(seed=1)
    env.close()
    assert given._process.poll() is None
    give_back()


def test_process_ends_with_a_python_that_is_killed():
    script = "import gymnasium, sluice_gym, os, sluice_gym.server as s; gymnasium.make('sluice/Flush-v0'); " \
        "print([e[0]._process.pid for e in s._servers.values()][0], flush=True); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)
    subprocess.run(["timeout", "30", "tail", f"--pid={pid}", "-f", "/dev/null"], check=True)


def test_no_binary(monkeypatch):
    monkeypatch.delenv("SLUICE_BIN", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(server.NoBinary, match="make build"):
        gymnasium.make("sluice/Flush-v0")
    with pytest.raises(server.NoBinary, match="nowhere"):
        gymnasium.make("sluice/Flush-v0", binary="/nowhere/sluice")


def test_vectorized():
    envs = gymnasium.make_vec("sluice/Flush-v0", num_envs=4, vectorization_mode="sync", **SHORT)
    try:
        observations, _ = envs.reset(seed=1)
        assert observations.shape[0] == 4
        for _ in range(50):
            _, rewards, _, _, infos = envs.step(np.ones(4, dtype=np.int64))
        assert rewards.shape == (4,)
        pickle.dumps(infos)
    finally:
        envs.close()


def test_names():
    assert sluice_gym.FlushEnv.metadata["render_modes"] == []
    assert "sluice/Flush-v0" in gymnasium.registry
