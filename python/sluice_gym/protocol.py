"""The messages of proto/, from their descriptors in protocol.binpb, which `make proto` writes."""

from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _load():
    # A pool of its own: a program may have its own stubs of the same messages in the default one.
    pool = descriptor_pool.DescriptorPool()
    data = resources.files("sluice_gym").joinpath("protocol.binpb").read_bytes()
    names = []
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.AddSerializedFile(file.SerializeToString())
        names += [f"{file.package}.{message.name}" for message in file.message_type]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names}


_messages = _load()

BatchState = _messages["rl_agent.BatchState"]
FlushDecision = _messages["rl_agent.FlushDecision"]
ResetRequest = _messages["sluice_env.ResetRequest"]
ResetReply = _messages["sluice_env.ResetReply"]
StepRequest = _messages["sluice_env.StepRequest"]
StepReply = _messages["sluice_env.StepReply"]
CloseRequest = _messages["sluice_env.CloseRequest"]
CloseReply = _messages["sluice_env.CloseReply"]
Scenario = _messages["sluice_env.Scenario"]
