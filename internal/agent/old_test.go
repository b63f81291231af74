package agent_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/flush"
	"github.com/sluicegate/sluice/internal/agent"
)

// oldProtocol is the first version, with four fields and one.
func oldProtocol(t *testing.T) (batchState, flushDecision protoreflect.MessageDescriptor) {
	t.Helper()
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: &name, Number: &number, Type: &kind, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	const number, float, truth = descriptorpb.FieldDescriptorProto_TYPE_UINT32, descriptorpb.FieldDescriptorProto_TYPE_FLOAT, descriptorpb.FieldDescriptorProto_TYPE_BOOL
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("old.proto"), Package: proto.String("rl_agent"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("BatchState"), Field: []*descriptorpb.FieldDescriptorProto{
				field("batch_size", 1, number), field("batch_age_ms", 2, float), field("upstream_p99_ms", 3, float), field("request_rate", 4, float),
			}},
			{Name: proto.String("FlushDecision"), Field: []*descriptorpb.FieldDescriptorProto{field("should_flush", 1, truth)}},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("BatchState"), file.Messages().ByName("FlushDecision")
}

// An oldAgent knows the first version, and flushes from a size or an age on.
type oldAgent struct {
	state, decision protoreflect.MessageDescriptor
	size            uint64
	ageMs           float64
}

func (a *oldAgent) decide(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	m := dynamicpb.NewMessage(a.state)
	if err := read(m); err != nil {
		return nil, err
	}
	size, age := m.Get(a.state.Fields().ByName("batch_size")).Uint(), m.Get(a.state.Fields().ByName("batch_age_ms")).Float()
	d := dynamicpb.NewMessage(a.decision)
	d.Set(a.decision.Fields().ByName("should_flush"), protoreflect.ValueOfBool(size >= a.size || age >= a.ageMs))
	return d, nil
}

func (a *oldAgent) serve(t *testing.T) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{ServiceName: serviceName, Methods: []grpc.MethodDesc{{MethodName: "Decide", Handler: a.decide}}}, nil)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return ln.Addr().String()
}

// TestAgentOfTheFirstVersion is asked as ever, and its answers count.
func TestAgentOfTheFirstVersion(t *testing.T) {
	state, decision := oldProtocol(t)
	old := &oldAgent{state: state, decision: decision, size: 2, ageMs: 20}
	client, err := agent.Dial(old.serve(t), agent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	group := coalesce.New[int, string](coalesce.Config{})
	defer group.Close(context.Background())
	opt := &coalesce.Options[int, string]{
		Policy: client.Policy(agent.Terms{Timeout: patience, CallCost: 25 * ms, Instead: flush.Immediate{}}),
		Hold:   patience,
		Fetch:  func(context.Context, *coalesce.Call[int, string]) (string, error) { return "v", nil },
	}
	_, o, err := group.Do(t.Context(), "alone", 1, opt)
	if err != nil || o.Reason != coalesce.ByPolicy || o.Waited < 20*ms {
		t.Errorf("alone: %+v, %v", o, err)
	}
}

// TestClientOfTheFirstVersion gets the answer that it understands.
func TestClientOfTheFirstVersion(t *testing.T) {
	state, decision := oldProtocol(t)
	address, _ := serving(t, "127.0.0.1:0", balance)
	conn := connect(t, address)
	for age, want := range map[float32]bool{0: false, 24: false, 25: true} {
		m, d := dynamicpb.NewMessage(state), dynamicpb.NewMessage(decision)
		m.Set(state.Fields().ByName("batch_size"), protoreflect.ValueOfUint32(1))
		m.Set(state.Fields().ByName("batch_age_ms"), protoreflect.ValueOfFloat32(age))
		if err := conn.Invoke(t.Context(), "/rl_agent.RlAgent/Decide", m, d); err != nil {
			t.Fatal(err)
		}
		if got := d.Get(decision.Fields().ByName("should_flush")).Bool(); got != want {
			t.Errorf("at the age of %g ms: %v, want %v", age, got, want)
		}
	}
}
