// Package agent lets another program decide when requests that wait together are sent, over gRPC: the service rl_agent.RlAgent of
// proto/rl_agent.proto.
//
// A [Client] has policies for slots, see [Client.Policy]: each asks the agent, and has a rule at hand for when there is no answer in time. An agent that
// is slow, wrong or gone costs nobody a request, and after a few failures in a row nobody a timeout either: it is left alone then, and asked again
// by one call now and then until it answers.
//
// [NewServer] is an agent: it has any policy decide for those who ask.
package agent
