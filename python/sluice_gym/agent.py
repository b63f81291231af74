"""A policy in Python as an agent of a gateway."""

from concurrent import futures

import grpc

from sluice_gym import protocol


def serve(decide, address="127.0.0.1:50051", workers=4):
    """Serve a policy as rl_agent.RlAgent, for `sluice proxy --policy remote --agent ADDRESS`.

    decide gets a BatchState of proto/rl_agent.proto, whose features are the observation of FlushEnv, and returns whether the batch is sent now.
    It is called by several threads at once if workers is above 1. It may return (False, ms) to be asked again after that time, if no request
    arrives before. What it raises is an error to the gateway, which then decides itself.

    Returns a grpc.Server, which is running, with the port that it listens on as its attribute port. Its stop ends it.
    """

    def answer(state, context):
        decision = decide(state)
        flush, recheck = decision if isinstance(decision, tuple) else (decision, 0)
        return protocol.FlushDecision(should_flush=bool(flush), recheck_after_ms=float(recheck))

    method = grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=protocol.BatchState.FromString, response_serializer=lambda m: m.SerializeToString()
    )
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=workers))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("rl_agent.RlAgent", {"Decide": method}),))
    server.port = server.add_insecure_port(address)
    server.start()
    return server
