"""Train a flush policy with Stable-Baselines3's PPO, compare it with rules, and serve it to a gateway.

    pip install ./python torch stable-baselines3
    python python/examples/train_sb3.py --steps 200000 --serve 127.0.0.1:50051
    sluice proxy --upstream http://127.0.0.1:9090 --policy remote --agent 127.0.0.1:50051

It needs a sluice for its simulator: in the PATH, or $SLUICE_BIN.
"""

import argparse
import time

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

import sluice_gym

# What it is trained on, and what it is compared on, which it has not seen.
TRAINING = ["poisson:5/s", "poisson:20/s", "poisson:100/s", "poisson:300/s", "poisson:1000/s", "mmpp:5/s@2s,500/s@200ms", "mmpp:20/s@1s,2000/s@100ms"]
UNSEEN = ["poisson:10/s", "poisson:50/s", "poisson:500/s", "mmpp:10/s@3s,800/s@300ms", "pareto:100/s,alpha=1.5"]
CALL_COSTS = [5.0, 25.0, 100.0]


class BesideTheMean(gymnasium.Wrapper):
    """Rewards what a request costs less than requests have cost so far, in traffic of the same kind.

    Every cost is negative, and a discount counts steps. So it would pay to wait and be asked again, since that puts off all that is to be paid
    later, though the traffic doesn't wait. Where the mean is 0 there is nothing to put off.
    """

    def __init__(self, env, means):
        super().__init__(env)
        self.means = means  # cost of a request by kind of traffic, which all environments share

    def reset(self, **arguments):
        observation, info = self.env.reset(**arguments)
        self.requests, self.kind = info["requests"], (info["traffic"], info["state"]["call_cost_ms"])
        return observation, info

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        reward += self.means.get(self.kind, 1) * (info["requests"] - self.requests)
        self.requests = info["requests"]
        if terminated or truncated:
            cost, mean = info["cost"] / info["requests"], self.means.get(self.kind, 1)
            self.means[self.kind] = mean + (cost - mean) / 4
        return observation, reward, terminated, truncated, info


def train(steps, environments, seed, requests):
    torch.set_num_threads(1)
    means = {}
    scenario = {"traffic": TRAINING, "call_cost_ms": CALL_COSTS, "requests": requests}
    envs = DummyVecEnv([lambda: BesideTheMean(sluice_gym.FlushEnv(**scenario), means) for _ in range(environments)])
    model = PPO(
        "MlpPolicy", envs, n_steps=256, batch_size=256, gamma=0.99, gae_lambda=0.95, ent_coef=0.002, learning_rate=1e-3, seed=seed,
        policy_kwargs={"net_arch": [32, 32]}, device="cpu",
    )
    model.learn(total_timesteps=steps)
    envs.close()
    return model


def learned(model):
    """Return the policy as a function of the observation. It is a plain forward pass: model.predict costs ten times as much."""
    weights = [p.detach().numpy() for layer in [*model.policy.mlp_extractor.policy_net, model.policy.action_net] for p in layer.parameters()]

    def send(observation):
        x = np.asarray(observation, dtype=np.float32)
        for i in range(0, len(weights), 2):
            x = weights[i] @ x + weights[i + 1]
            if i + 2 < len(weights):
                x = np.tanh(x)
        return bool(x[1] > x[0])

    return send


def balance(observation, state):
    return state["waiting_ms"] >= state["call_cost_ms"]


def immediate(observation, state):
    return True


def compare(policies, requests, seeds):
    """Print the cost of each policy as a multiple of that of the best schedule, and their geometric means."""
    print(f"{'unseen traffic':28} {'call cost':>9}  " + "  ".join(f"{name:>9}" for name in policies))
    logs = {name: [] for name in policies}
    for traffic in UNSEEN:
        for call_cost in CALL_COSTS:
            env = sluice_gym.FlushEnv(traffic=traffic, call_cost_ms=call_cost, requests=requests, optimum=True)
            row = []
            for name, policy in policies.items():
                ratios = [ratio(env, policy, seed) for seed in seeds]
                logs[name] += list(np.log(ratios))
                row.append(np.exp(np.mean(np.log(ratios))))
            env.close()
            print(f"{traffic:28} {call_cost:>6} ms  " + "  ".join(f"{r:9.3f}" for r in row))
    print(f"{'geometric mean':38}   " + "  ".join(f"{np.exp(np.mean(logs[name])):9.3f}" for name in policies))


def ratio(env, policy, seed):
    observation, info = env.reset(seed=seed)
    over = False
    while not over:
        observation, _, terminated, truncated, info = env.step(int(policy(observation, info["state"])))
        over = terminated or truncated
    return info["cost"] / info["optimum"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=200_000, help="of training")
    arguments.add_argument("--environments", type=int, default=8, help="that are played side by side")
    arguments.add_argument("--requests", type=int, default=500, help="of an episode")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--serve", metavar="HOST:PORT", help="serve the policy there afterwards, until it is interrupted")
    a = arguments.parse_args()

    begun = time.monotonic()
    model = train(a.steps, a.environments, a.seed, a.requests)
    took = time.monotonic() - begun
    print(f"trained {model.num_timesteps} steps in {took:.0f} s, {model.num_timesteps / took:.0f} a second")

    send = learned(model)
    policies = {"learned": lambda observation, state: send(observation), "balance": balance, "immediate": immediate}
    compare(policies, requests=a.requests, seeds=range(2))

    if a.serve:
        server = sluice_gym.serve(lambda state: send(state.features), a.serve, workers=2)
        print(f"serving on port {server.port}: sluice proxy --policy remote --agent {a.serve}")
        try:
            server.wait_for_termination()
        except KeyboardInterrupt:
            server.stop(1).wait()


if __name__ == "__main__":
    main()
